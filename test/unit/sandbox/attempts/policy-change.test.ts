/** What a reloaded policy does to attempts that wait, are queued and run (design 5.5; hostile cases 64, 65). */
import { Purpose, Status } from '@flowops/proto/sandbox_pb.js';
import { describe, expect, test } from 'vitest';
import { CANCELLED, COMPLETED, failed, type HandTable, handTable } from './hand-driven-table.ts';

const ISOLATE = 'version: 1\nrules:\n  - match: { unsigned: true }\n    tier: isolate\n';
const DENIED = `${ISOLATE}  - match: { plugin: "acme.*" }\n    deny: "recalled"\n`;
const STOPPED = `${DENIED}stopRunning: true\n`;

/** One attempt that runs. */
function running(source = ISOLATE): HandTable {
  const made = handTable(source);
  made.invoke();
  made.runs[0]?.events.onStarted();
  return made;
}

describe('an attempt that runs', () => {
  test('keeps the policy it began with when the new one denies it', async () => {
    const { reload, runs, results, receipt } = running();
    reload(DENIED);
    expect(runs[0]?.cancels).toEqual([]);
    await runs[0]?.end(COMPLETED);
    expect(results).toMatchObject([{ status: Status.COMPLETED }]);
    expect(receipt(0)).toMatchObject({ rule: 'rule 1 (sandbox-policy.yaml:3)' });
  });

  test('ends with POLICY_DENIED when the new policy denies it and says stopRunning', async () => {
    const { reload, runs, results, receipt } = running();
    reload(STOPPED);
    expect(runs[0]?.cancels).toEqual([{ graceMs: 0, reason: expect.stringContaining('recalled') }]);
    await runs[0]?.end(CANCELLED);
    expect(results).toMatchObject([
      {
        status: Status.FAILED,
        code: 'POLICY_DENIED',
        message: 'acme.x 1.0.0 is denied by rule 2 (sandbox-policy.yaml:5): recalled',
        notRetryable: true,
      },
    ]);
    expect(receipt(0)).toMatchObject({ rule: 'rule 1 (sandbox-policy.yaml:3)' });
  });

  test.each([
    ['throws when it is told to stop', failed('PLUGIN_ERROR'), 'POLICY_DENIED'],
    ['takes its worker with it', failed('SANDBOX_CRASHED'), 'POLICY_DENIED'],
    ['had come to its end already', COMPLETED, ''],
  ])('and is denied, and %s', async (_title, outcome, code) => {
    const { reload, runs, results } = running();
    reload(STOPPED);
    await runs[0]?.end(outcome);
    expect(results).toMatchObject([{ code }]);
  });

  test('ends as cancelled when its engine stopped it before it was denied', async () => {
    const made = handTable(ISOLATE);
    const token = made.invoke();
    made.runs[0]?.events.onStarted();
    made.table.cancel(token, 1n, { graceMs: 50, reason: 'STOP' });
    made.reload(STOPPED);
    expect(made.runs[0]?.cancels).toEqual([{ graceMs: 50, reason: 'STOP' }]);
    await made.runs[0]?.end(CANCELLED);
    expect(made.results).toMatchObject([{ status: Status.CANCELLED }]);
  });

  test('runs on under stopRunning when the new policy has other terms for it but lets it run', () => {
    const { reload, runs } = running();
    reload('version: 1\nstopRunning: true\ndefaults: { tier: container }\n');
    expect(runs).toHaveLength(1);
    expect(runs[0]?.cancels).toEqual([]);
  });

  test.each([
    ['its digest is revoked', (digest: string) => `${ISOLATE}revoked: { digests: ["${digest}"] }\nstopRunning: true\n`],
    ['its version is too old', () => `${ISOLATE}minVersion: { acme.x: 2.0.0 }\nstopRunning: true\n`],
    ['its id is another plugin', () => `${ISOLATE}plugins: { acme.x: acme.other }\nstopRunning: true\n`],
  ])('ends also when %s', (_title, source) => {
    const { reload, runs } = running();
    reload(source(runs[0]?.request.bundle.digest ?? ''));
    expect(runs[0]?.cancels).toHaveLength(1);
  });

  test('is not denied twice', () => {
    const { reload, runs } = running();
    reload(STOPPED);
    reload(`${STOPPED}strictRuntimes: true\n`);
    expect(runs[0]?.cancels).toHaveLength(1);
  });

  test('and only inspects is left alone', () => {
    const { invoke, reload, runs } = handTable(ISOLATE);
    invoke({ purpose: Purpose.INSPECT });
    reload(STOPPED);
    expect(runs[0]?.cancels).toEqual([]);
  });
});

describe('an attempt that is queued', () => {
  test('is denied by the new policy, stopRunning or not', async () => {
    const { invoke, reload, runs, results } = handTable(ISOLATE);
    invoke();
    reload(DENIED);
    await runs[0]?.end(CANCELLED);
    expect(results).toMatchObject([{ code: 'POLICY_DENIED', notRetryable: true }]);
  });

  test('is put in again with the terms of the new policy', async () => {
    const { invoke, reload, runs, results } = handTable(ISOLATE);
    invoke();
    reload('version: 1\n');
    expect(runs[0]?.cancels).toHaveLength(1);
    await runs[0]?.end(CANCELLED);
    expect(results).toEqual([]);
    expect(runs[1]).toMatchObject({ tier: 'container', request: { rule: 'defaults' } });
    await runs[1]?.end(COMPLETED);
    expect(results).toMatchObject([{ status: Status.COMPLETED }]);
  });

  test('stays where it is when its terms are the same', () => {
    const { invoke, reload, runs } = handTable(ISOLATE);
    invoke();
    reload(`${ISOLATE}minVersion: { other.y: 2.0.0 }\n`);
    expect(runs).toHaveLength(1);
    expect(runs[0]?.cancels).toEqual([]);
  });

  test('and began before it could be taken back is told as a fault of ours, which costs no retry of the user', async () => {
    const { invoke, reload, runs, results } = handTable(ISOLATE);
    invoke();
    reload('version: 1\n');
    runs[0]?.events.onStarted();
    await runs[0]?.end(CANCELLED);
    expect(results).toMatchObject([{ code: 'SANDBOX_UNAVAILABLE', notRetryable: false }]);
    expect(runs).toHaveLength(1);
  });

  test('and is stopped by its engine while it is taken back is not put in again', async () => {
    const { table, invoke, reload, runs, results } = handTable(ISOLATE);
    const token = invoke();
    reload('version: 1\n');
    table.cancel(token, 1n, { graceMs: 0, reason: 'STOP' });
    await runs[0]?.end(CANCELLED);
    expect(runs).toHaveLength(1);
    expect(results).toMatchObject([{ status: Status.CANCELLED }]);
  });

  test('is denied also when a second reload denies it while it is taken back', async () => {
    const { invoke, reload, runs, results } = handTable(ISOLATE);
    invoke();
    reload('version: 1\n');
    reload(DENIED);
    await runs[0]?.end(CANCELLED);
    expect(results).toMatchObject([{ code: 'POLICY_DENIED' }]);
  });
});

test('a table that was closed does not follow the policy any more', () => {
  const { table, reload, runs } = running();
  table.close();
  reload(STOPPED);
  expect(runs[0]?.cancels).toEqual([]);
});
