import { describeProblems, MAX_PROBLEMS_TOLD, planFlow, pluginKey } from '@flowops/engine/scheduler/plan.ts';
import { parseSteps, type WrittenStep } from '@flowops/proto/flow.ts';
import { manifestSchema } from '@flowops/proto/manifest.ts';
import type { ResolveResult } from '@flowops/proto/plugin-source.ts';
import { describe, expect, it } from 'vitest';

const manifest = manifestSchema.parse({
  name: 'test.fetch',
  version: '1.2.0',
  inputs: {
    url: { type: 'string' },
    tries: { type: 'integer', required: false, default: 3 },
    deep: { type: 'json', required: false },
  },
  outputs: { body: { type: 'string' }, size: { type: 'integer' } },
});
const FOUND: ResolveResult = {
  ok: true,
  plugin: { pluginId: 'test.fetch', digest: `sha256:${'a'.repeat(64)}`, manifest },
};
const UNKNOWN: ResolveResult = {
  ok: false,
  code: 'PLUGIN_NOT_FOUND',
  message: 'no plugin test.fetsch is published (did you mean test.fetch?)',
};

function plan(steps: unknown, inputs = {}, missing: ResolveResult = UNKNOWN) {
  const parsed = parseSteps(steps);
  const answer = (step: WrittenStep) => (step.pluginId === 'test.fetch' ? FOUND : missing);
  return planFlow({
    steps: parsed.steps,
    ...(parsed.ok ? {} : { unreadable: { problems: parsed.problems, ids: parsed.unreadable } }),
    inputs,
    plugins: new Map(parsed.steps.map((step) => [pluginKey(step), answer(step)])),
  });
}

function problemsOf(steps: unknown, inputs = {}): readonly string[] {
  const result = plan(steps, inputs);
  return result.ok ? [] : result.problems;
}

const ok = { stepId: 'ok', pluginId: 'test.fetch', inputs: { url: 'https://example.com' } };

describe('planning a flow', () => {
  it('pins each plugin once and finds what each step waits for', () => {
    const result = plan([
      ok,
      {
        stepId: 'next',
        pluginId: 'test.fetch',
        inputs: { url: 'ok.body' },
        dependsOn: ['ok'],
        config: { timeoutMs: 500 },
      },
      { stepId: 'last', pluginId: 'test.fetch', inputs: { url: 'x ${next.size}', deep: ['ok.body'] } },
    ]);
    expect(result).toMatchObject({
      ok: true,
      definition: {
        plugins: [{ pluginId: 'test.fetch', version: '1.2.0' }],
        steps: [
          { stepId: 'ok', after: [] },
          { stepId: 'next', after: ['ok'], timeoutMs: 500 },
          { stepId: 'last', after: ['next', 'ok'] },
        ],
      },
    });
  });

  it('finds every kind of mistake at once', () => {
    const problems = problemsOf(
      [
        ok,
        ok,
        { stepId: 'plugin', pluginId: 'test.fetsch', inputs: {} },
        { stepId: 'none' },
        { stepId: 'missing', pluginId: 'test.fetch', inputs: {} },
        { stepId: 'typed', pluginId: 'test.fetch', inputs: { url: 'u', tries: 'three' } },
        { stepId: 'step', pluginId: 'test.fetch', inputs: { url: '${oh.body}' } },
        { stepId: 'output', pluginId: 'test.fetch', inputs: { url: 'ok.bodi' } },
        { stepId: 'input', pluginId: 'test.fetch', inputs: { url: '${flow.input.hostt}' } },
        { stepId: 'depends', pluginId: 'test.fetch', inputs: { url: 'u' }, dependsOn: ['typedd'] },
        { stepId: 'self', pluginId: 'test.fetch', inputs: { url: '${self.body}' } },
        {
          stepId: 'later',
          pluginId: 'test.fetch',
          inputs: { url: 'u' },
          condition: 'true',
          forEach: '${ok.body}',
          config: { retryCount: 2 },
        },
        { stepId: 'x', pluginId: 'test.fetch', inputs: { url: 'y.body' } },
        { stepId: 'y', pluginId: 'test.fetch', inputs: { url: 'z.body' } },
        { stepId: 'z', pluginId: 'test.fetch', inputs: { url: 'x.body' } },
      ],
      { host: 'h' },
    );
    const text = problems.join('\n');
    expect(text).toContain('step ok: this stepId is used more than once');
    expect(text).toContain('step plugin: PLUGIN_NOT_FOUND: no plugin test.fetsch');
    expect(text).toContain('step none: pluginId is missing');
    expect(text).toContain('step missing: input url (string) of test.fetch is missing');
    expect(text).toContain('step typed: input tries must be integer, not "three"');
    expect(text).toContain('names step oh, which does not exist (did you mean ok?)');
    expect(text).toContain('names ok.bodi, but that step has no such output (did you mean body?)');
    expect(text).toContain('flow.input.hostt, which this run was not given (did you mean host?)');
    expect(text).toContain('dependsOn names typedd, which is no step (did you mean typed?)');
    expect(text).toContain('step self: inputs.url refers to its own step');
    for (const field of ['condition', 'forEach', 'config.retryCount'])
      expect(text).toContain(`step later: ${field} is not supported`);
    expect(text).toMatch(
      /cycle: (x → z → y → x|x → y → z → x|y → x → z → y|z → y → x → z|y → z → x → y|z → x → y → z)/,
    );
  });

  it('judges the other steps also when one cannot be read, and takes what refers to that one as it is', () => {
    const problems = problemsOf([
      { stepId: 'broken', pluginId: 'test.fetch', config: { timeoutMs: -1 } },
      { stepId: 'a', pluginId: 'test.fetch', inputs: { url: '${broken.body}' }, dependsOn: ['broken'] },
      { stepId: 'b', pluginId: 'test.fetch' },
      7,
    ]);
    expect(problems).toHaveLength(3);
    expect(problems[0]).toMatch(/^steps\[0\] \(broken\): config\.timeoutMs/);
    expect(problems[1]).toMatch(/^steps\[3\]: /);
    expect(problems[2]).toBe('step b: input url (string) of test.fetch is missing');
  });

  it('has the code of a plugin source that is away, or of its useless bytes, only when nothing else is wrong', () => {
    const away: ResolveResult = { ok: false, code: 'SANDBOX_UNAVAILABLE', message: 'the service is down' };
    const useless: ResolveResult = { ok: false, code: 'PLUGIN_INVALID', message: 'a Java archive' };
    const lost = { stepId: 'lost', pluginId: 'test.lost' };
    expect(plan([ok, lost], {}, away)).toMatchObject({ ok: false, code: 'SANDBOX_UNAVAILABLE' });
    expect(plan([ok, lost], {}, useless)).toMatchObject({ ok: false, code: 'PLUGIN_INVALID' });
    expect(plan([ok, lost], {}, UNKNOWN)).toMatchObject({ ok: false, code: 'FLOW_INVALID' });
    expect(plan([ok, ok, lost], {}, away)).toMatchObject({ ok: false, code: 'FLOW_INVALID' });
  });

  it('names a cycle in the direction of the work: what comes before → what waits for it', () => {
    const [problem] = problemsOf([
      { stepId: 'first', pluginId: 'test.fetch', inputs: { url: 'second.body' } },
      { stepId: 'second', pluginId: 'test.fetch', inputs: { url: 'u' }, dependsOn: ['first'] },
    ]);
    expect(problem).toMatch(/first → second → first|second → first → second/);
  });

  it('uses nothing for null and empty fields of features that come later', () => {
    expect(
      problemsOf([
        {
          ...ok,
          condition: null,
          branches: [],
          children: null,
          trigger: '',
          retry: null,
          forEach: null,
          config: { timeoutMs: 0, retryCount: 0, retryDelayMs: 0 },
        },
      ]),
    ).toEqual([]);
  });

  it('refuses a DECISION, children and branches by name', () => {
    const text = problemsOf([
      {
        ...ok,
        type: 'DECISION',
        branches: [{ branchId: 'b', condition: null, steps: [] }],
        children: [{ stepId: 'c', pluginId: 'test.fetch' }],
      },
    ]).join();
    for (const field of ['type DECISION', 'branches', 'children']) expect(text).toContain(field);
  });

  it('lets a null input stand for an absent one and warns of an input that the plugin does not have', () => {
    const result = plan([{ ...ok, inputs: { url: 'u', tries: null, urll: 'x' } }]);
    expect(result).toMatchObject({
      ok: true,
      warnings: [expect.stringContaining('no input urll (did you mean url?)')],
    });
  });

  it('refuses a flow without steps', () => {
    expect(problemsOf([])).toEqual(['the flow has no steps']);
  });

  it('takes an output that only the step declares', () => {
    expect(
      problemsOf([
        { ...ok, outputs: { extra: 'STRING' } },
        { stepId: 'n', pluginId: 'test.fetch', inputs: { url: 'ok.extra' } },
      ]),
    ).toEqual([]);
  });

  it('tells a bounded number of problems and says how many more there are', () => {
    const text = describeProblems(Array.from({ length: MAX_PROBLEMS_TOLD + 7 }, (_, index) => `p${index}`));
    expect(text).toContain('57 problems');
    expect(text).toContain('and 7 more');
  });

  it('handles a chain of 20,000 steps without a deep stack', () => {
    const steps = Array.from({ length: 20_000 }, (_, index) => ({
      stepId: `s${index}`,
      pluginId: 'test.fetch',
      inputs: { url: index === 0 ? 'u' : `s${index - 1}.body` },
    }));
    expect(plan(steps).ok).toBe(true);
  });
});
