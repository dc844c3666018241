import type { Flow, FlowRun } from '@flowops/engine/embedded/api.ts';
import { joinEngine } from '@flowops/engine/embedded/create-engine.ts';
import { type EngineSettings, readEngineSettings } from '@flowops/engine/embedded/engine-settings.ts';
import type { LocalFlowEngine } from '@flowops/engine/embedded/flow-engine.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeFolder, scratchFolder } from '../../../services/scratch.ts';
import { FakeHost, FakeSandboxes } from '../../../support/fake-host.ts';
import { echoing, FakePlugins, SILENT } from '../../../support/run-bench.ts';

const TWO: Flow = {
  flowId: 'two',
  steps: [
    { stepId: 'a', pluginId: 'test.echo', inputs: { text: 'hello' } },
    { stepId: 'b', pluginId: 'test.echo', inputs: { text: 'a.text' } },
  ],
};
const STORY = ['RUNNING', 'a RUNNING', 'a COMPLETED', 'b RUNNING', 'b COMPLETED', 'COMPLETED'];

let home: string;
const engines: LocalFlowEngine[] = [];
beforeEach(() => {
  home = scratchFolder();
});
afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.close();
  removeFolder(home);
});

/** Another engine on the same home, as another process would be. */
async function open(host = echoing(), settings: EngineSettings = {}): Promise<LocalFlowEngine> {
  const engine = await joinEngine({
    home,
    log: SILENT,
    settings: readEngineSettings({ STOP_GRACE_MS: 10, ...settings }),
    plugins: new FakePlugins(),
    sandboxes: new FakeSandboxes(host),
  });
  engines.push(engine);
  return engine;
}

async function storyOf(run: FlowRun, from?: number): Promise<string[]> {
  const story: string[] = [];
  let next = from ?? 1;
  for await (const event of run.events(from === undefined ? {} : { from })) {
    expect(event.sequence).toBe(next++);
    story.push(event.eventType === 'STEP_STATUS' ? `${event.stepId} ${event.status}` : event.status);
  }
  return story;
}

const codeOf = (code: string, message?: RegExp) =>
  expect.objectContaining({ name: 'FlowopsError', code, ...(message && { message: expect.stringMatching(message) }) });

describe('a run of an embedded engine', () => {
  it('tells its events as they come, to several at once, and its result', async () => {
    const run = await (await open()).start(TWO, { runId: 'r' });
    const all = await Promise.all([storyOf(run), storyOf(run), run.result()]);
    const outputs = { a: { text: 'hello' }, b: { text: 'hello' } };
    expect(all).toEqual([STORY, STORY, { runId: 'r', status: 'COMPLETED', outputs, error: null, code: null }]);
    expect(await run.status()).toBe('COMPLETED');
  });

  it('gives who lost touch the events after the last one seen, and nothing after the final one', async () => {
    const run = await (await open()).start(TWO);
    await run.result();
    expect(await storyOf(run, 4)).toEqual(STORY.slice(3));
    expect(await storyOf(run, 7)).toEqual([]);
    expect(await storyOf(run, 1_000)).toEqual([]);
  });

  it('is found by its id when it has ended, also by another engine, with all its events', async () => {
    const first = await open();
    await (await first.start(TWO, { runId: 'r' })).result();
    await first.close();
    const found = await (await open()).run('r');
    expect(found).toMatchObject({ flowId: 'two', runId: 'r', toldBefore: 6 });
    expect(await storyOf(found)).toEqual(STORY);
    expect((await found.result()).outputs).toEqual({ a: { text: 'hello' }, b: { text: 'hello' } });
  });

  it('stops following when the reader leaves or its signal says so', async () => {
    const host = new FakeHost();
    const run = await (await open(host)).start(TWO);
    for await (const event of run.events()) {
      if (event.eventType === 'STEP_STATUS') break;
    }
    const left = new AbortController();
    const following = storyOf(run).then(undefined, (thrown: unknown) => thrown);
    const aborted = run.result({ signal: left.signal }).then(undefined, (thrown: unknown) => thrown);
    left.abort(new Error('left'));
    expect(await aborted).toEqual(new Error('left'));
    host.attempts[0]?.fail('PLUGIN_ERROR', 'no', false);
    expect(await following).toEqual(['RUNNING', 'a RUNNING', 'a FAILED', 'b CANCELLED', 'FAILED']);
  });

  it('counts events from 1', async () => {
    const run = await (await open()).start(TWO);
    await expect(storyOf(run, 0)).rejects.toEqual(codeOf('COMMAND_INVALID', /counted from 1; from is 0/));
    await expect(storyOf(run, 1.5)).rejects.toEqual(codeOf('COMMAND_INVALID'));
  });

  it('is paused, goes on and is stopped; a stop of one that has ended is content, a pause is not', async () => {
    const host = new FakeHost();
    const run = await (await open(host)).start(TWO);
    expect(['PENDING', 'RUNNING']).toContain(await run.status());
    await host.started(1);
    await run.pause();
    expect(await run.status()).toBe('PAUSED');
    await run.resume();
    await run.stop('enough');
    expect(await run.result()).toMatchObject({ status: 'STOPPED' });
    expect(host.attempts[0]?.calls).toContain('cancel');
    await run.stop();
    await expect(run.pause()).rejects.toEqual(codeOf('RUN_FINAL', /has ended/));
    await expect(run.resume()).rejects.toEqual(codeOf('RUN_FINAL'));
  });
});

describe('a start', () => {
  it('with the id of a run gives that run again: while it runs, and when it has ended', async () => {
    const host = new FakeHost();
    const engine = await open(host);
    const [first, again] = await Promise.all([0, 1].map(() => engine.start(TWO, { runId: 'r' })));
    await host.started(1);
    host.attempts[0]?.complete({ text: 'x' });
    await host.started(2);
    host.attempts[1]?.complete({ text: 'y' });
    expect(await Promise.all([first?.result(), again?.result()])).toMatchObject([
      { status: 'COMPLETED' },
      { status: 'COMPLETED' },
    ]);
    const later = await engine.start(TWO, { runId: 'r' });
    expect((await later.result()).outputs).toEqual({ a: { text: 'x' }, b: { text: 'y' } });
    expect(host.attempts).toHaveLength(2);
  });

  it('with the id of a run of another flow or other inputs is refused, and leaves that run alone', async () => {
    const host = new FakeHost();
    const engine = await open(host);
    const run = await engine.start(TWO, { runId: 'r' });
    const other = { ...TWO, steps: TWO.steps.slice(0, 1) };
    await expect(engine.start(other, { runId: 'r' })).rejects.toEqual(codeOf('RUN_EXISTS', /another definition/));
    await engine.close();
    const next = await open(host);
    await expect(next.start(other, { runId: 'r' })).rejects.toEqual(codeOf('RUN_EXISTS'));
    expect(await next.interruptedRuns()).toEqual([{ flowId: 'two', runId: run.runId }]);
  });

  it('of a run that was interrupted takes it up', async () => {
    const first = await open(new FakeHost());
    await first.start(TWO, { runId: 'r' });
    await first.close();
    const run = await (await open()).start(TWO, { runId: 'r' });
    expect((await run.result()).status).toBe('COMPLETED');
  });

  it.each([
    { what: 'no flowId', flow: { steps: [] }, code: 'FLOW_INVALID', says: /flowId/ },
    { what: 'a misspelt key', flow: { ...TWO, step: [] }, code: 'FLOW_INVALID', says: /step: unknown key.*steps/ },
    {
      what: 'a step without an id',
      flow: { ...TWO, steps: [Object.create(null)] },
      code: 'FLOW_INVALID',
      says: /stepId/,
    },
    { what: 'an input too many', flow: TWO, inputs: { n: 1 }, code: 'INPUT_INVALID', says: /no input n/ },
    { what: 'no JSON', flow: TWO, inputs: { n: 1n }, code: 'INPUT_INVALID', says: /JSON/ },
    { what: 'a wrong id', flow: TWO, runId: 'a b', code: 'COMMAND_INVALID', says: /runId/ },
  ])('with $what is refused before anything is written', async ({ flow, inputs, runId, code, says }) => {
    const engine = await open();
    const options = { ...(inputs && { inputs }), ...(runId && { runId }) };
    await expect(engine.start(flow as Flow, options)).rejects.toEqual(codeOf(code, says));
    expect(await engine.interruptedRuns()).toEqual([]);
  });

  it('reads inputs by their declared types and fills in defaults', async () => {
    const flow: Flow = {
      flowId: 'typed',
      inputs: { n: { type: 'integer' }, text: { type: 'string', default: 'preset' } },
      steps: [{ stepId: 'a', pluginId: 'test.echo', inputs: { n: '${flow.input.n}', text: '${flow.input.text}' } }],
    };
    const host = echoing();
    const engine = await open(host);
    await (await engine.start(flow, { inputs: { n: '7' } })).result();
    expect(JSON.parse(host.attempts[0]?.request.inputsJson ?? '')).toEqual({ n: 7, text: 'preset' });
    await expect(engine.start(flow)).rejects.toEqual(
      codeOf('INPUT_INVALID', /input n \(integer\) is required; give it with \{ inputs: \{ n: … \} \}/),
    );
  });

  it('of a flow whose plugins are not there ends FAILED with every problem', async () => {
    const flow: Flow = { flowId: 'f', steps: [{ stepId: 'a', pluginId: 'test.ecko' }] };
    const result = await (await (await open()).start(flow)).result();
    expect(result).toMatchObject({ status: 'FAILED', code: 'FLOW_INVALID' });
    expect(result.error).toContain('test.ecko');
  });
});

describe('several engines on one home', () => {
  it('run a run once: the other is told who has it', async () => {
    const engine = await open(new FakeHost());
    await engine.start(TWO, { runId: 'r' });
    const other = await open();
    const taken = codeOf('RUN_EXISTS', new RegExp(`run r is being run by an engine in process ${process.pid}`));
    await expect(other.start(TWO, { runId: 'r' })).rejects.toEqual(taken);
    await expect(other.resume('r')).rejects.toEqual(taken);
    await expect(other.run('r')).rejects.toEqual(taken);
    expect(await engine.interruptedRuns()).toEqual([]);
  });

  it('run different runs side by side, also of ids that look alike', async () => {
    const [one, two] = [await open(), await open()];
    const a = await one.start({ ...TWO, flowId: 'a.b' }, { runId: 'c' });
    const b = await two.start({ ...TWO, flowId: 'a' }, { runId: 'b.c' });
    const c = await one.start({ ...TWO, flowId: 'f'.repeat(128) }, { runId: 'r'.repeat(128) });
    const results = await Promise.all([a, b, c].map((run) => run.result()));
    expect(results.map(({ status }) => status)).toEqual(['COMPLETED', 'COMPLETED', 'COMPLETED']);
  });

  it('tell runs of one id apart by the flow', async () => {
    const engine = await open();
    for (const flowId of ['x', 'y']) await (await engine.start({ ...TWO, flowId }, { runId: 'r' })).result();
    await expect(engine.run('r')).rejects.toEqual(codeOf('COMMAND_INVALID', /several flows have a run r: x, y/));
    expect(await engine.run('r', { flowId: 'y' })).toMatchObject({ flowId: 'y' });
    await expect(engine.run('r', { flowId: 'z' })).rejects.toEqual(codeOf('RUN_UNKNOWN'));
  });
});

describe('a close', () => {
  it('leaves what had not ended to the next engine, which goes on where it stood', async () => {
    const host = new FakeHost();
    const engine = await open(host);
    const run = await engine.start(TWO, { runId: 'r' });
    await host.started(1);
    host.attempts[0]?.complete({ text: 'kept' });
    await host.started(2);
    const waiting = [storyOf(run), run.result()].map((wait) => wait.then(undefined, (thrown: unknown) => thrown));
    await engine.close();
    expect(await Promise.all(waiting)).toEqual([codeOf('CANCELLED', /closed/), codeOf('CANCELLED', /resume/)]);
    await expect(engine.start(TWO)).rejects.toEqual(codeOf('CANCELLED'));

    const next = await open();
    expect(await next.interruptedRuns()).toEqual([{ flowId: 'two', runId: 'r' }]);
    await expect(next.run('r')).rejects.toEqual(codeOf('COMMAND_INVALID', /engine\.resume\('r'\)/));
    const resumed = await next.resume('r');
    // What was told last may not have been acknowledged.
    expect([2, 3, 4]).toContain(resumed.toldBefore);
    expect(await resumed.result()).toMatchObject({ outputs: { a: { text: 'kept' }, b: { text: 'kept' } } });
    const story = await storyOf(resumed);
    expect(story.slice(0, 4)).toEqual(STORY.slice(0, 4));
    expect(story.filter((line) => line === 'a RUNNING')).toHaveLength(1);
    expect(await next.interruptedRuns()).toEqual([]);
    await expect(next.resume('r')).rejects.toEqual(codeOf('RUN_FINAL', /it has ended COMPLETED/));
    await expect(next.resume('nobody')).rejects.toEqual(codeOf('RUN_UNKNOWN', /no run nobody was left unfinished/));
  });

  it('lets steps that run finish when it is told to', async () => {
    const host = new FakeHost();
    const engine = await open(host);
    const run = await engine.start({ ...TWO, steps: TWO.steps.slice(0, 1) });
    await host.started(1);
    const result = run.result();
    const closing = engine.close({ drainMs: 60_000 });
    host.attempts[0]?.complete({ text: 'done' });
    expect(await result).toMatchObject({ status: 'COMPLETED' });
    await closing;
  });

  it('comes with the end of a block that uses the engine', async () => {
    let run: FlowRun;
    {
      await using engine = await open(new FakeHost());
      run = await engine.start(TWO);
    }
    await expect(run.status()).rejects.toEqual(codeOf('CANCELLED'));
  });
});
