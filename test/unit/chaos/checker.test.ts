/** The chaos checker, held against stories that it must accept and, one by one, against each thing that must not be. */
import type { StatusEvent } from '@flowops/proto/statuses.ts';
import { describe, expect, it } from 'vitest';
import { check } from '../../chaos/checker.ts';
import {
  type Allowance,
  type Effect,
  NOTHING_ALLOWED,
  type Observation,
  type SentRun,
  type StatusRecord,
  type ViolationKind,
} from '../../chaos/observation.ts';

const FLOW = 'flow';
const RUN = 'run-1';
const T0 = Date.parse('2026-01-01T00:00:00Z');
const RERUNS: Allowance = { ...NOTHING_ALLOWED, reruns: true };

/** Two steps, one after the other. */
const SENT: SentRun = {
  flowId: FLOW,
  runId: RUN,
  steps: [
    { stepId: 'a', after: [], input: 'a' },
    { stepId: 'b', after: ['a'], input: '(a)' },
  ],
  mayEnd: ['COMPLETED'],
};
const STOPPABLE: SentRun = { ...SENT, mayEnd: ['COMPLETED', 'STOPPED'] };

/** `[sinceStartMs, status]` of the flow, or `[sinceStartMs, stepId, status, attempt]`. */
type Line = readonly [number, string] | readonly [number, string, string, number?];

function told(lines: readonly Line[], epochs: readonly number[] = []): StatusRecord[] {
  return lines.map(([ms, first, second, attempt], index) => {
    const sequence = index + 1;
    const common = {
      ...{ flowId: FLOW, runId: RUN, error: null, timestamp: new Date(T0 + ms).toISOString() },
      ...{ sequence, eventId: `${FLOW}:${RUN}:${epochs[index] ?? 1}:${sequence}` },
    };
    const event =
      second === undefined
        ? { eventType: 'FLOW_STATUS', ...common, status: first }
        : {
            eventType: 'STEP_STATUS',
            ...common,
            stepId: first,
            status: second,
            ...(attempt === undefined ? {} : { attempt }),
          };
    return { partition: 0, offset: index, key: `${FLOW}:${RUN}`, value: JSON.stringify(event) };
  });
}

/** A step's code, run once from `fromMs` to `toMs`. */
function ran(stepId: string, attempt: number, fromMs: number, toMs: number, more: Partial<Effect> = {}): Effect[] {
  const input = SENT.steps.find((step) => step.stepId === stepId)?.input ?? '';
  const life = `${stepId}-${attempt}-${fromMs}`;
  const common = { key: `${FLOW}/${RUN}/${stepId}`, life, attempt, input };
  return [
    { ...common, phase: 'began', atMs: T0 + fromMs, ...more },
    { ...common, phase: 'ended', atMs: T0 + toMs, ...more },
  ];
}

/** It began, and is heard of last at `toMs`, in the middle. */
function cutOff(stepId: string, attempt: number, fromMs: number, toMs: number): Effect[] {
  return ran(stepId, attempt, fromMs, toMs).map((effect) =>
    effect.phase === 'ended' ? { ...effect, phase: 'beat' } : effect,
  );
}

const WELL: readonly Line[] = [
  [0, 'RUNNING'],
  [0, 'a', 'RUNNING', 1],
  [1000, 'a', 'COMPLETED', 1],
  [1000, 'b', 'RUNNING', 1],
  [2000, 'b', 'COMPLETED', 1],
  [2000, 'COMPLETED'],
];
const RAN_WELL = [...ran('a', 1, 10, 990), ...ran('b', 1, 1010, 1990)];

/** `a` ran twice: its first sandbox died. */
const RERUN: readonly Line[] = [
  [0, 'RUNNING'],
  [0, 'a', 'RUNNING', 1],
  [1000, 'a', 'RUNNING', 2],
  [2000, 'a', 'COMPLETED', 2],
  [2000, 'b', 'RUNNING', 1],
  [3000, 'b', 'COMPLETED', 1],
  [3000, 'COMPLETED'],
];
const RAN_TWICE = [...cutOff('a', 1, 10, 500), ...ran('a', 2, 1010, 1990), ...ran('b', 1, 2010, 2990)];

const STOPPED: readonly Line[] = [
  [0, 'RUNNING'],
  [0, 'a', 'RUNNING', 1],
  [1000, 'b', 'CANCELLED'],
  [1500, 'a', 'CANCELLED', 1],
  [1500, 'STOPPED'],
];

function kindsOf(seen: Partial<Observation>): readonly ViolationKind[] {
  const { violations } = check({ runs: [SENT], records: [], effects: [], allowance: NOTHING_ALLOWED, ...seen });
  return [...new Set(violations.map(({ kind }) => kind))];
}

/** With another text for the record at the index. */
function altered(
  records: readonly StatusRecord[],
  index: number,
  change: (event: StatusEvent) => object,
): StatusRecord[] {
  return records.map((record, at) =>
    at === index ? { ...record, value: JSON.stringify(change(JSON.parse(record.value ?? ''))) } : record,
  );
}

/** The records in another order, at new offsets. */
function inOrder(records: readonly StatusRecord[], order: readonly number[]): StatusRecord[] {
  return order.flatMap((index, offset) => {
    const record = records[index];
    return record === undefined ? [] : [{ ...record, offset }];
  });
}

describe('the checker accepts', () => {
  it('a run that went well, and counts what it saw', () => {
    const { violations, figures } = check({
      ...{ runs: [SENT], records: told(WELL), effects: RAN_WELL, allowance: NOTHING_ALLOWED },
    });
    expect(violations).toEqual([]);
    expect(figures).toEqual({ runs: 1, ends: { COMPLETED: 1 }, events: 6, repeats: 0, effects: 4, reruns: 0 });
  });

  it('repeats of any event at any later place, also after the end', () => {
    const records = inOrder(told(WELL), [0, 1, 0, 1, 2, 3, 4, 5, 2, 5]);
    const { violations, figures } = check({ runs: [SENT], records, effects: RAN_WELL, allowance: NOTHING_ALLOWED });
    expect(violations).toEqual([]);
    expect(figures).toMatchObject({ events: 6, repeats: 4 });
  });

  it('a step that ran again because its sandbox died, where faults excuse it', () => {
    expect(kindsOf({ records: told(RERUN), effects: RAN_TWICE, allowance: RERUNS })).toEqual([]);
    const { figures } = check({ runs: [SENT], records: told(RERUN), effects: RAN_TWICE, allowance: RERUNS });
    expect(figures.reruns).toBe(1);
  });

  it('an attempt that its host ran again because its sandbox died', () => {
    const effects = [...cutOff('a', 1, 10, 400), ...ran('a', 1, 500, 990), ...ran('b', 1, 1010, 1990)];
    expect(kindsOf({ records: told(WELL), effects })).toEqual([]);
  });

  it('a run that was stopped in the middle, and one that was stopped before it began', () => {
    const effects = cutOff('a', 1, 10, 1490);
    expect(kindsOf({ runs: [STOPPABLE], records: told(STOPPED), effects })).toEqual([]);
    expect(kindsOf({ runs: [STOPPABLE], records: told([[0, 'STOPPED']]) })).toEqual([]);
  });

  it('a pause, with what was running ending in it', () => {
    const lines: readonly Line[] = [
      [0, 'RUNNING'],
      [0, 'a', 'RUNNING', 1],
      [500, 'PAUSED'],
      [1000, 'a', 'COMPLETED', 1],
      [1500, 'RUNNING'],
      [1500, 'b', 'RUNNING', 1],
      [2500, 'b', 'COMPLETED', 1],
      [2500, 'COMPLETED'],
    ];
    expect(kindsOf({ records: told(lines), effects: [...ran('a', 1, 10, 990), ...ran('b', 1, 1510, 2490)] })).toEqual(
      [],
    );
  });

  it('records of several partitions in any order of arrival', () => {
    expect(kindsOf({ records: told(WELL).reverse(), effects: RAN_WELL })).toEqual([]);
  });

  it('a failure with a code that the faults of the scenario excuse', () => {
    const lines: readonly Line[] = [
      [0, 'RUNNING'],
      [0, 'a', 'RUNNING', 1],
      [1000, 'a', 'FAILED', 1],
      [1000, 'b', 'CANCELLED'],
      [1000, 'FAILED'],
    ];
    const crashed = (event: StatusEvent) => ({ ...event, code: 'SANDBOX_CRASHED' });
    const records = altered(altered(told(lines), 2, crashed), 4, crashed);
    const effects = cutOff('a', 1, 10, 500);
    expect(kindsOf({ records, effects, allowance: { ...NOTHING_ALLOWED, codes: ['SANDBOX_CRASHED'] } })).toEqual([]);
    expect(kindsOf({ records, effects })).toEqual(['wrong-end']);
  });
});

describe('the checker reports', () => {
  it('no-end: an accepted run of which nothing, or not the last event, was told', () => {
    expect(kindsOf({})).toEqual(['no-end']);
    expect(kindsOf({ records: told(WELL.slice(0, 5)), effects: RAN_WELL })).toEqual(['no-end']);
  });

  it('gap: an event left out, and one that comes before the one it follows', () => {
    const records = told(WELL);
    expect(kindsOf({ records: inOrder(records, [0, 1, 2, 4, 5]), effects: RAN_WELL })).toContain('gap');
    expect(kindsOf({ records: inOrder(records, [0, 1, 3, 2, 4, 5]), effects: RAN_WELL })).toContain('gap');
  });

  it('altered: a repeat that says something else, under the same id or another', () => {
    const records = told(WELL);
    const other = altered(records, 2, (event) => ({ ...event, timestamp: '2026-01-01T00:00:09Z' }))[2];
    const ofOther = told(WELL, [1, 1, 2])[2];
    for (const repeat of [other, ofOther]) {
      if (repeat === undefined) throw new Error('there is no third record');
      const repeated = [...records, { ...repeat, offset: 9 }];
      expect(kindsOf({ records: repeated, effects: RAN_WELL })).toEqual(['altered']);
    }
  });

  it('altered: an eventId that two events share', () => {
    const [first] = told(WELL).map(({ value }) => JSON.parse(value ?? ''));
    const records = altered(told(WELL), 3, (event) => ({ ...event, eventId: first.eventId }));
    expect(kindsOf({ records, effects: RAN_WELL })).toEqual(['altered']);
  });

  it('after-end: anything new after a final event', () => {
    const lines: readonly Line[] = [...WELL, [2100, 'b', 'CANCELLED', 1]];
    expect(kindsOf({ records: told(lines), effects: RAN_WELL })).toEqual(['after-end']);
    expect(kindsOf({ records: told([...WELL, [2100, 'COMPLETED']]), effects: RAN_WELL })).toEqual(['after-end']);
  });

  it('wrong-end: STOPPED where nobody sent a STOP, FAILED where nothing failed', () => {
    expect(kindsOf({ records: told(STOPPED), effects: cutOff('a', 1, 10, 1490) })).toEqual(['wrong-end']);
    expect(kindsOf({ runs: [STOPPABLE], records: told([[0, 'FAILED']]) })).toEqual(['wrong-end']);
  });

  it.each<[string, readonly Line[]]>([
    ['a completion told twice', [...WELL.slice(0, 3), [1000, 'a', 'COMPLETED', 1], ...WELL.slice(3)]],
    ['an end while a step is open', [...WELL.slice(0, 4), [2000, 'COMPLETED']]],
    ['an end without all steps', [...WELL.slice(0, 3), [2000, 'COMPLETED']]],
    [
      'a step before its predecessor completed',
      [[0, 'RUNNING'], [0, 'b', 'RUNNING', 1], ...WELL.slice(1, 3), ...WELL.slice(4)],
    ],
    ['a step that starts in a pause', [...WELL.slice(0, 3), [1000, 'PAUSED'], ...WELL.slice(3)]],
    [
      'an attempt left out',
      [...WELL.slice(0, 3), [1000, 'b', 'RUNNING', 2], [2000, 'b', 'COMPLETED', 2], [2000, 'COMPLETED']],
    ],
    ['a completion by another attempt', [...WELL.slice(0, 4), [2000, 'b', 'COMPLETED', 2], [2000, 'COMPLETED']]],
    ['a run that begins twice', [[0, 'RUNNING'], ...WELL]],
  ])('order: %s', (_, lines) => {
    expect(kindsOf({ records: told(lines), effects: RAN_WELL })).toContain('order');
  });

  it('never-ran: a completion without the code having come to its end', () => {
    expect(kindsOf({ records: told(WELL), effects: ran('a', 1, 10, 990) })).toEqual(['never-ran']);
    expect(kindsOf({ records: told(WELL), effects: [...ran('a', 1, 10, 990), ...cutOff('b', 1, 1010, 1990)] })).toEqual(
      ['never-ran'],
    );
  });

  it('ran-untold: code that ran before, or without, being told as running', () => {
    expect(kindsOf({ records: told(WELL), effects: [...ran('a', 1, 10, 990), ...ran('b', 1, 200, 1990)] })).toEqual([
      'ran-untold',
    ]);
    const effects = [...RAN_WELL, ...cutOff('a', 2, 992, 995)];
    expect(kindsOf({ records: told(WELL), effects, allowance: RERUNS })).toEqual(['ran-untold']);
  });

  it('ran-again: code of a step that began, or went on, after its completion', () => {
    const again = [...RAN_WELL, ...ran('a', 1, 1400, 1450)];
    expect(kindsOf({ records: told(WELL), effects: again, allowance: RERUNS })).toEqual(['ran-again']);
    const stillAlive = [...cutOff('a', 1, 10, 2900), ...RAN_TWICE.slice(2)];
    const allowance = { ...RERUNS, overlaps: true };
    expect(kindsOf({ records: told(RERUN), effects: stillAlive, allowance })).toEqual(['ran-again']);
  });

  it('ran-after-end: code of a run after STOPPED', () => {
    const effects = cutOff('a', 1, 10, 2500);
    expect(kindsOf({ runs: [STOPPABLE], records: told(STOPPED), effects })).toEqual(['ran-after-end']);
  });

  it('double-run: two lives of a step at one time', () => {
    const effects = [...cutOff('a', 1, 10, 1500), ...RAN_TWICE.slice(2)];
    expect(kindsOf({ records: told(RERUN), effects, allowance: RERUNS })).toEqual(['double-run']);
    expect(kindsOf({ records: told(RERUN), effects, allowance: { ...RERUNS, overlaps: true } })).toEqual([]);
  });

  it('reran: a second attempt where nothing that was done explains it', () => {
    expect(kindsOf({ records: told(RERUN), effects: RAN_TWICE })).toEqual(['reran']);
  });

  it("wrong-input: a step that was given another text than its predecessors'", () => {
    const effects = [...ran('a', 1, 10, 990), ...ran('b', 1, 1010, 1990, { input: '()' })];
    expect(kindsOf({ records: told(WELL), effects })).toEqual(['wrong-input']);
  });

  it('foreign: runs and steps that nobody sent, another key, another partition', () => {
    const [first, second] = told(WELL);
    if (first === undefined || second === undefined) throw new Error('too few records');
    const rest = told(WELL).slice(1);
    const ofOther = altered([{ ...first, offset: 90 }], 0, (event) => ({ ...event, runId: 'nobody' }));
    expect(kindsOf({ records: [...told(WELL), ...ofOther], effects: RAN_WELL })).toEqual(['foreign']);
    expect(kindsOf({ records: [{ ...first, key: RUN }, ...rest], effects: RAN_WELL })).toContain('foreign');
    const moved = { ...second, partition: 1 };
    expect(kindsOf({ records: [first, moved, ...rest.slice(1)], effects: RAN_WELL })).toContain('foreign');
    const strange = [...RAN_WELL, ...ran('a', 1, 10, 20, { key: `${FLOW}/nobody/a` })];
    expect(kindsOf({ records: told(WELL), effects: strange })).toEqual(['foreign']);
    const noStep = [...RAN_WELL, ...ran('a', 1, 10, 20, { key: `${FLOW}/${RUN}/z` })];
    expect(kindsOf({ records: told(WELL), effects: noStep })).toEqual(['foreign']);
  });

  it('unreadable: what is no status event, or has no sequence', () => {
    const texts = [
      null,
      'nonsense',
      '{}',
      JSON.stringify({ ...JSON.parse(told(WELL)[0]?.value ?? ''), sequence: undefined }),
    ];
    for (const value of texts) {
      const records = [...told(WELL), { partition: 0, offset: 9, key: `${FLOW}:${RUN}`, value }];
      expect(kindsOf({ records, effects: RAN_WELL })).toEqual(['unreadable']);
    }
  });
});
