/** A policy that changes under a real host: steps that run, that wait, and what is prepared (hostile cases 64, 65). */
import type { AttemptOutcome } from '@flowops/proto/attempt.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PolicyHost } from '../support/policy-host.ts';

const RULE =
  'version: 1\nrules:\n  - match: { unsigned: true }\n    tier: isolate\n    jail: none\n    concurrent: 1\n';
const RECALLED = `${RULE}  - match: { plugin: "test.*" }\n    deny: "recalled"\n`;

function bundleOf(name: string, run: string): Buffer {
  const declared = { name, version: '1.0.0', description: '', permissions: { net: [], secrets: [] } };
  const manifest = { ...declared, inputs: {}, outputs: { a: { type: 'json' } } };
  const task = { ...declared, api: 1, inputs: {}, outputs: { a: { type: 'json', field: 'a' } } };
  const code = `export default { [Symbol.for('flowops.task')]: ${JSON.stringify(task)}, run: ${run} };`;
  return Buffer.from(`//! flowops-plugin ${JSON.stringify(manifest)}\n${code}\n`);
}

const WAITS_FOR_STOP =
  '({ context }) => new Promise((done) => context.signal.addEventListener("abort", () => done({ a: 1 })))';
const STAYS = bundleOf('test.stays', WAITS_FOR_STOP);
const DEAF = bundleOf('test.deaf', 'async () => { for (;;) await new Promise((done) => setTimeout(done, 10)); }');
const OTHER = bundleOf('other.fine', 'async () => ({ a: 2 })');

let host: PolicyHost;
beforeAll(async () => {
  host = await PolicyHost.start(RULE);
});
afterAll(() => host.close());

const codeOf = (outcome: AttemptOutcome) => (outcome.status === 'FAILED' ? outcome.code : outcome.status);

/** Resolves when the attempt has begun. */
async function begun(bundle: Buffer): Promise<{ ended: Promise<AttemptOutcome>; stop: () => void }> {
  const started = Promise.withResolvers<void>();
  const attempt = host.host.run(host.request(bundle), { onStarted: started.resolve });
  await started.promise;
  const ended = attempt.outcome.then((outcome) => {
    attempt.acknowledge();
    return outcome;
  });
  return { ended, stop: () => attempt.cancel({ graceMs: 5000, reason: 'the test is over' }) };
}

/** By what the policy in force says about a plugin that it now denies. */
const isRecalled = async () =>
  codeOf((await host.run(bundleOf('test.probe', 'async () => ({})'))).outcome) === 'POLICY_DENIED';
const isAllowed = async () => !(await isRecalled());

describe('a policy that denies a plugin', () => {
  test('lets its running step go on, ends the one that waits behind it, and refuses new ones', async () => {
    const running = await begun(STAYS);
    const waiting = host.run(STAYS).then(({ outcome, hasStarted }) => ({ code: codeOf(outcome), hasStarted }));
    await host.reload(RECALLED, isRecalled);
    expect(await waiting).toEqual({ code: 'POLICY_DENIED', hasStarted: false });
    expect(codeOf((await host.run(STAYS)).outcome)).toBe('POLICY_DENIED');
    running.stop(); // only now: it is the test that ends it, not the policy
    expect(codeOf(await running.ended)).toMatch(/^(?:COMPLETED|CANCELLED)$/);
    await host.reload(RULE, isAllowed);
  });

  test('and says stopRunning ends the running step too, also a deaf one, and leaves others alone', async () => {
    const deaf = await begun(DEAF);
    await host.reload(`${RECALLED}stopRunning: true\n`, isRecalled);
    const outcome = await deaf.ended;
    expect(outcome).toMatchObject({ status: 'FAILED', code: 'POLICY_DENIED', retryable: false });
    expect(outcome.status === 'FAILED' && outcome.message).toContain('denied by rule 2 (policy.yaml:7): recalled');
    expect(outcome.status === 'FAILED' && outcome.receipt).toMatchObject({ rule: 'rule 1 (policy.yaml:3)' });
    expect(codeOf((await host.run(OTHER)).outcome)).toBe('COMPLETED');
    await host.reload(RULE, isAllowed);
  });

  test('and is broken changes nothing', async () => {
    await host.rewrite(`${RECALLED}rulez: []\n`);
    await host.reload(`${RULE}minVersion: { test.probe: 2.0.0 }\n`, isRecalled); // the one after the broken one holds
    expect(codeOf((await host.run(OTHER)).outcome)).toBe('COMPLETED');
    await host.reload(RULE, isAllowed);
  });
});

test('a bundle of another name under a known pluginId is refused by a real host, and nothing of it runs', async () => {
  expect(codeOf((await host.run(OTHER, { pluginId: 'shop.plugin' })).outcome)).toBe('COMPLETED');
  const { outcome, hasStarted } = await host.run(DEAF, { pluginId: 'shop.plugin' });
  expect(outcome).toMatchObject({
    code: 'POLICY_DENIED',
    message: expect.stringContaining('plugins: { shop.plugin: test.deaf }'),
  });
  expect(hasStarted).toBe(false);
});
