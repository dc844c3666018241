/** Which ends count against a plugin, and that enough of them move it to the container tier. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ERROR_CODES, type ErrorCode } from '@flowops/proto/errors.ts';
import { violationOf } from '@flowops/sandbox/attempts/violations.ts';
import { openPluginLedger, type PluginLedger } from '@flowops/sandbox/ledger/plugin-ledger.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CANCELLED, COMPLETED, failed, handTable } from './hand-driven-table.ts';

const RULE = 'version: 1\nrules:\n  - match: { unsigned: true }\n    tier: isolate\n    onViolation: { demote: 2 }\n';
const COUNTED: readonly ErrorCode[] = [
  ...(['LIMIT_WALL', 'LIMIT_CPU', 'LIMIT_MEMORY', 'LIMIT_OUTPUT', 'LIMIT_LOG', 'LIMIT_HOST_CALLS'] as const),
  'SANDBOX_CRASHED',
];

let home: string;
let ledger: PluginLedger;
const log = { info: () => {}, warn: () => {}, error: (message: string) => expect.fail(message) };

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'violations-'));
  ledger = await openPluginLedger({ home, log });
});
afterEach(async () => {
  await ledger.close();
  await rm(home, { recursive: true });
});

test('limits and crashes count, nothing else does', () => {
  const terms = { tier: 'isolate', onViolation: { demoteAfter: 1, countsWall: true } } as const;
  const codes = (Object.keys(ERROR_CODES) as ErrorCode[]).filter(
    (code) => violationOf({ outcome: failed(code) }, terms) === code,
  );
  expect(codes.sort()).toEqual([...COUNTED].sort());
  expect([COMPLETED, CANCELLED].map((outcome) => violationOf({ outcome }, terms))).toEqual([undefined, undefined]);
});

test('a step that others left no core does not count', () => {
  const terms = { tier: 'isolate', onViolation: { demoteAfter: 1, countsWall: true } } as const;
  expect(violationOf({ outcome: failed('LIMIT_WALL'), isStarved: true }, terms)).toBeUndefined();
});

test('without onViolation nothing counts, and in the container tier neither', () => {
  expect(violationOf({ outcome: failed('LIMIT_CPU') }, { tier: 'isolate', onViolation: undefined })).toBeUndefined();
  const inContainer = { tier: 'container', onViolation: { demoteAfter: 1, countsWall: true } } as const;
  expect(violationOf({ outcome: failed('LIMIT_CPU') }, inContainer)).toBeUndefined();
});

test('after as many violations as its rule says a plugin goes to the container tier, and its receipt says why', async () => {
  const { invoke, runs, receipt, results } = handTable(RULE, ledger);
  for (const code of ['LIMIT_CPU', 'SANDBOX_CRASHED'] as const) {
    invoke();
    await runs.at(-1)?.end(failed(code));
  }
  invoke();
  invoke({ name: 'acme.other' });
  await runs[2]?.end(COMPLETED);
  expect(runs.map(({ tier }) => tier)).toEqual(['isolate', 'isolate', 'container', 'isolate']);
  expect(results).toHaveLength(3);
  expect(receipt(2)).toMatchObject({ rule: 'rule 1 (sandbox-policy.yaml:3) (demoted after 2 violations)' });
});

test('a step that its own flow gave less time cannot have a plugin demoted by running out of it', async () => {
  const { invoke, runs } = handTable(RULE, ledger);
  for (let i = 0; i < 5; i++) {
    invoke({ requestedWallMs: 10 });
    await runs.at(-1)?.end(failed('LIMIT_WALL'));
  }
  expect(ledger.counts()).toEqual([]);
  invoke({ requestedWallMs: 10 });
  await runs.at(-1)?.end(failed('LIMIT_CPU'));
  expect(ledger.counts()).toMatchObject([{ violations: 1, code: 'LIMIT_CPU' }]);
});

test('an operator lifts a demotion, and the plugin is back where its rule says', async () => {
  const { invoke, runs } = handTable(RULE, ledger);
  for (let i = 0; i < 2; i++) {
    invoke();
    await runs.at(-1)?.end(failed('LIMIT_MEMORY'));
  }
  for (const count of ledger.counts()) ledger.lift(count);
  invoke();
  expect(runs.map(({ tier }) => tier)).toEqual(['isolate', 'isolate', 'isolate']);
});

test('a demoted plugin that is asked to run in the isolate tier is refused with the way to lift that', async () => {
  const { invoke, runs, results } = handTable(RULE, ledger);
  for (let i = 0; i < 2; i++) {
    invoke();
    await runs.at(-1)?.end(failed('LIMIT_WALL'));
  }
  invoke({ requestedTier: 'isolate' });
  expect(results.at(-1)).toMatchObject({
    code: 'POLICY_DENIED',
    message:
      'acme.x was asked to run in the isolate tier; rule 1 (sandbox-policy.yaml:3) gives it that, but it was demoted to ' +
      'the container tier after 2 violations. To allow: `flowops policy demotions --lift acme.x`',
  });
});

test('the first name under a pluginId is kept, another is refused, and a refused attempt keeps no name', async () => {
  const source = `${RULE}  - match: { plugin: "acme.evil" }\n    deny: "no"\n`;
  const { invoke, results } = handTable(source, ledger);
  invoke({ pluginId: 'slack', name: 'acme.evil' });
  expect(ledger.pins()).toEqual([]);
  invoke({ pluginId: 'slack', name: 'acme.slack' });
  expect(ledger.pins()).toMatchObject([{ pluginId: 'slack', name: 'acme.slack', by: 'first use' }]);
  invoke({ pluginId: 'SLACK', name: 'acme.other' });
  expect(results.at(-1)).toMatchObject({
    code: 'POLICY_DENIED',
    message:
      'the plugin published as SLACK calls itself acme.other, but it was acme.slack when it was first used here. ' +
      'To allow: plugins: { SLACK: acme.other }, or `flowops policy pins --agree SLACK=acme.other`',
  });
});

test('a name that the policy gives is not remembered, and goes before what was', () => {
  ledger.agree('slack', 'acme.old');
  const { invoke, results } = handTable(`${RULE}plugins: { slack: acme.new, chat: acme.chat }\n`, ledger);
  invoke({ pluginId: 'slack', name: 'acme.new' });
  invoke({ pluginId: 'chat', name: 'acme.chat' });
  expect(results).toEqual([]);
  expect(ledger.pins()).toMatchObject([{ pluginId: 'slack', name: 'acme.old' }]);
});
