import { canariesIn, makeCanaries } from '@flowops/sandbox/doctor/canaries.ts';
import type { StepRun } from '@flowops/sandbox/doctor/step.ts';
import { TEST_LIMITS } from '@flowops/sandbox/doctor/test-policy.ts';
import { GRACE_MS, problemsOf, type Seen } from '@flowops/sandbox/doctor/verdict.ts';
import { expect, test } from 'vitest';

const canaries = makeCanaries();
const run: StepRun = {
  ending: 'LIMIT_WALL',
  message: 'it ran longer',
  stack: '',
  outputs: undefined,
  lines: [],
  receipt: null,
  elapsedMs: 10,
};
const fine: StepRun = { ...run, ending: 'COMPLETED', message: '', outputs: { o: 'fine' } };
const seen = (changes: Partial<Seen> = {}): Seen => ({
  run,
  neighbour: fine,
  limits: TEST_LIMITS,
  stopAfterMs: undefined,
  ...changes,
});
const judge = (one: Seen, expectation = {}) => problemsOf(one, { endings: ['LIMIT_WALL'], ...expectation }, canaries);

test('an attempt that went as it must has no problem', () => {
  expect(judge(seen())).toEqual([]);
});

test('another code, a late end, a neighbour that failed and other outputs are problems', () => {
  expect(judge(seen({ run: { ...run, ending: 'LOST' } }))).toEqual([expect.stringContaining('ended LOST')]);
  const late = 2 * TEST_LIMITS.wallMs + GRACE_MS + 1;
  expect(judge(seen({ run: { ...run, elapsedMs: late } }))).toEqual([expect.stringContaining('took')]);
  expect(judge(seen({ neighbour: run }))).toEqual([expect.stringContaining("a neighbour's step ended LIMIT_WALL")]);
  const found = judge(seen({ run: fine }), { endings: ['COMPLETED'], outputs: { o: 'else' } });
  expect(found).toEqual([expect.stringContaining('gave {"o":"fine"}')]);
});

test('another stack than the one expected, words that are missing and a text without end are problems', () => {
  expect(judge(seen({ run: { ...run, stack: 'at /host' } }), { stack: '' })).toEqual(['has the stack at /host']);
  expect(judge(seen(), { says: '32 MB' })).toEqual(['says it ran longer']);
  expect(judge(seen({ run: { ...run, message: 'x'.repeat(9_000) } }))).toEqual([expect.stringContaining('9000')]);
});

test('in a crowd the time of one that was run again counts from then on', () => {
  const receipt = { runMs: 100 } as StepRun['receipt'];
  const late = { ...run, receipt, elapsedMs: 2 * TEST_LIMITS.wallMs + GRACE_MS + 1 };
  expect(judge(seen({ run: late }))).toHaveLength(1);
  expect(judge(seen({ run: late, isCrowd: true }))).toEqual([]);
});

test('more log than the cap, and a granted secret that came out, are problems', () => {
  const lines = [{ timeMs: 0, level: 'info' as const, message: 'x'.repeat(TEST_LIMITS.logBytes + 10_000) }];
  expect(judge(seen({ run: { ...run, lines } }))).toEqual([expect.stringContaining('bytes of log')]);
  expect(judge(seen({ run: { ...run, message: 'it is s3cret' } }), { keepsBack: 's3cret' })).toHaveLength(1);
});

test('a canary is found in every place that people see, plain or encoded', () => {
  const { ofHost } = canaries;
  for (const text of [ofHost, Buffer.from(ofHost).toString('base64'), Buffer.from(ofHost).toString('hex')]) {
    expect(canariesIn(`before ${text} after`, canaries)).toEqual(['ofHost']);
  }
  const lines = [{ timeMs: 0, level: 'info' as const, message: 'm', fields: { a: ofHost } }];
  for (const leaking of [
    { ...run, message: ofHost },
    { ...run, stack: ofHost },
    { ...run, lines },
  ]) {
    expect(judge(seen({ run: leaking }))).toEqual([expect.stringContaining('a secret that was not granted')]);
  }
});
