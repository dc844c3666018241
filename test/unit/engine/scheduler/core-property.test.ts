/**
 * The core under random DAGs, random orders of events and a crash at random points. The driver below is the shell in
 * small: it commits a draft by putting its text (runs/codec.ts) into a map, and a crash throws memory away and
 * rebuilds the run from that map.
 */
import {
  decodeMeta,
  decodeSteps,
  encodeDraft,
  encodeRecord,
  encodeRun,
  type RunRecord,
} from '@flowops/engine/runs/codec.ts';
import { applyEvent, newDraft } from '@flowops/engine/scheduler/decide.ts';
import type { FlowDefinition } from '@flowops/engine/scheduler/definition.ts';
import type { AttemptEnd, RunEvent } from '@flowops/engine/scheduler/events.ts';
import { isFinalRun, newRun, type RunState, restoreRun } from '@flowops/engine/scheduler/state.ts';
import { statusEventSchema } from '@flowops/proto/statuses.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { flowOf } from '../../../support/flows.ts';

const REF = { flowId: 'flow', runId: 'run' };
const FORMAT = 2;
const CONTEXT = { triggeredBy: null, via: 'cli', reason: null } as const;
const RECORD: RunRecord = {
  startHash: 'x',
  priority: 0,
  createdMs: 0,
  startedBy: CONTEXT,
  commands: {},
  pausedBy: null,
};

/** Edges only from a lower to a higher index: always a DAG. */
const dags: fc.Arbitrary<FlowDefinition> = fc
  .array(fc.array(fc.nat(), { maxLength: 3 }), { minLength: 1, maxLength: 12 })
  .map((rows) =>
    flowOf(
      Object.fromEntries(
        rows.map((row, index) => [`s${index}`, index === 0 ? [] : [...new Set(row.map((pick) => `s${pick % index}`))]]),
      ),
    ),
  );

type How = 'completed' | 'failed' | 'lost' | 'unproven' | 'crashed' | 'unavailable' | 'cancelled';

type Action =
  | { do: 'start' | 'crash' | 'wait'; pick: number }
  | { do: 'end'; pick: number; how: How }
  /** The end of a lost attempt is proven. */
  | { do: 'prove'; pick: number }
  | { do: 'command'; type: 'pause' | 'resume' | 'stop' }
  | { do: 'repeat'; pick: number };

const actions: fc.Arbitrary<Action[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('start' as const), pick: fc.nat() }) },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('end' as const),
        pick: fc.nat(),
        how: fc.oneof(
          { weight: 12, arbitrary: fc.constant('completed' as const) },
          {
            weight: 1,
            arbitrary: fc.constantFrom(
              'failed' as const,
              'lost' as const,
              'unproven' as const,
              'crashed' as const,
              'unavailable' as const,
              'cancelled' as const,
            ),
          },
        ),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('crash' as const, 'wait' as const), pick: fc.nat() }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('command' as const),
        type: fc.oneof(
          { weight: 4, arbitrary: fc.constantFrom('pause' as const, 'resume' as const) },
          { weight: 1, arbitrary: fc.constant('stop' as const) },
        ),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constantFrom('repeat' as const, 'prove' as const), pick: fc.nat() }),
    },
  ),
  { maxLength: 80 },
);

class Driver {
  readonly definition: FlowDefinition;
  readonly told: ReturnType<typeof statusEventSchema.parse>[] = [];
  readonly history: RunEvent[] = [];
  /** Tokens of attempts of which code may still run, and of those that ended for sure since. */
  readonly alive = new Set<string>();
  readonly proven = new Set<string>();
  run: RunState;
  nowMs = 1_000;
  #meta: Record<string, string>;
  readonly #steps = new Map<string, string>();
  #tokens = 0;

  constructor(definition: FlowDefinition) {
    this.definition = definition;
    this.run = newRun(REF, definition);
    this.#meta = { ...encodeRun(this.run, FORMAT), ...encodeRecord(RECORD) };
  }

  /** Applies and commits; with `crash`, dies before the commit. */
  apply(event: RunEvent, crash = false): void {
    const draft = newDraft();
    applyEvent(this.run, event, this.nowMs, draft);
    if (crash) {
      this.reload();
      return;
    }
    this.history.push(event);
    const patch = encodeDraft(this.run, draft, { epoch: 7, format: FORMAT });
    Object.assign(this.#meta, patch.meta);
    for (const [stepId, text] of Object.entries(patch.steps ?? {})) this.#steps.set(stepId, text);
    for (const text of patch.events ?? []) this.told.push(statusEventSchema.parse(JSON.parse(text)));
    for (const effect of draft.effects) if (effect.type === 'continue') this.apply({ type: 'continue' });
  }

  reload(): void {
    const meta = { format: 1, partition: '0', epoch: 7, revision: 1, outboxHead: 1, fields: this.#meta };
    this.run = restoreRun(REF, this.definition, decodeMeta(meta).state, decodeSteps(this.#steps));
    for (const step of [...this.run.running]) this.end(step, { kind: 'orphaned' });
    if (this.run.ending !== null) this.apply({ type: 'continue' });
  }

  startReady(pick: number, crash = false): void {
    const ready = [...this.run.ready];
    const step = ready[pick % Math.max(1, ready.length)];
    if (step === undefined) return;
    this.apply({ type: 'start-step', step, token: `t${++this.#tokens}`, host: 'h' }, crash);
  }

  end(step: number, end: AttemptEnd): void {
    const state = this.run.steps.get(step);
    if (state?.status !== 'RUNNING') return;
    if (end.kind === 'lost' && end.aliveForMs > 0 && !isFinalRun(this.run)) this.alive.add(state.token);
    this.apply({ type: 'attempt-ended', step, token: state.token, end });
  }

  prove(token: string): void {
    this.proven.add(token);
    this.apply({ type: 'end-proven', token });
  }

  backoffsOver(): void {
    this.nowMs += 60_000;
    for (const [step, state] of this.run.steps) {
      if (state.status === 'WAITING') this.apply({ type: 'backoff-over', step });
    }
  }

  perform(action: Action): void {
    this.nowMs += 5;
    const running = [...this.run.running];
    switch (action.do) {
      case 'start':
        this.startReady(action.pick, action.pick % 11 === 0);
        return;
      case 'end': {
        const step = running[action.pick % Math.max(1, running.length)];
        if (step !== undefined) this.end(step, endOf(action.how));
        return;
      }
      case 'crash':
        this.reload();
        return;
      case 'wait':
        this.backoffsOver();
        return;
      case 'command':
        this.apply({ type: action.type });
        return;
      case 'prove': {
        const unproven = [...this.run.unproven.keys()];
        const token = unproven[action.pick % Math.max(1, unproven.length)];
        if (token !== undefined) this.prove(token);
        return;
      }
      case 'repeat': {
        const event = this.history[action.pick % Math.max(1, this.history.length)];
        if (event?.type === 'attempt-ended' || event?.type === 'start-step') this.apply(event);
        return;
      }
    }
  }

  /** Lets the run come to its end: everything succeeds from here on. */
  finish(): void {
    for (let round = 0; round < 200 && !isFinalRun(this.run); round++) {
      if (this.run.status === 'PAUSED') this.apply({ type: 'resume' });
      this.backoffsOver();
      for (let left = this.run.ready.size; left > 0; left--) this.startReady(0);
      for (const step of [...this.run.running]) this.end(step, { kind: 'completed', outputs: [['text', '"x"']] });
      if (round > 2) for (const token of [...this.run.unproven.keys()]) this.prove(token);
    }
  }
}

function endOf(how: How): AttemptEnd {
  switch (how) {
    case 'completed':
      return { kind: 'completed', outputs: [['text', '"x"']] };
    case 'failed':
      return { kind: 'failed', code: 'PLUGIN_ERROR', message: 'broken', isRetryable: true };
    case 'unavailable':
      return { kind: 'failed', code: 'SANDBOX_UNAVAILABLE', message: 'no host', isRetryable: true };
    case 'lost':
      return { kind: 'lost', message: 'gone', aliveForMs: 0 };
    case 'unproven':
      return { kind: 'lost', message: 'out of reach', aliveForMs: 10_000 };
    case 'crashed':
      return { kind: 'lost', message: 'its host died', aliveForMs: 0, crash: 'step' };
    case 'cancelled':
      return { kind: 'cancelled' };
  }
}

describe('the core under any order of events and crashes', () => {
  it('ends every run, tells a gap-free story of it, and never runs a completed step again', () => {
    fc.assert(
      fc.property(dags, actions, (definition, script) => {
        const driver = new Driver(definition);
        driver.apply({ type: 'begin' });
        for (const action of script) driver.perform(action);
        driver.finish();

        const { told, run } = driver;
        expect(isFinalRun(run)).toBe(true);
        expect(told.map((event) => event.sequence)).toEqual(told.map((_, index) => index + 1));
        const last = told.at(-1);
        expect(last?.eventType).toBe('FLOW_STATUS');
        expect(
          told.filter((event) => event.eventType === 'FLOW_STATUS' && isFinalRun({ status: event.status as 'FAILED' })),
        ).toHaveLength(1);

        const completed = new Set<string>();
        const final = new Set<string>();
        for (const event of told) {
          if (event.eventType !== 'STEP_STATUS') continue;
          expect(final.has(event.stepId)).toBe(false);
          if (event.status === 'RUNNING') {
            const step = definition.steps.find(({ stepId }) => stepId === event.stepId);
            for (const before of step?.after ?? []) expect(completed.has(before)).toBe(true);
          } else {
            final.add(event.stepId);
            if (event.status === 'COMPLETED') completed.add(event.stepId);
          }
        }
        expect(final.size).toBe(definition.steps.length);
        if (last?.status === 'COMPLETED') expect(completed.size).toBe(definition.steps.length);
        // Nothing of a stopped run can run any more (G5), through any crash.
        if (last?.status === 'STOPPED')
          expect([...driver.alive].filter((token) => !driver.proven.has(token))).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  it('restores exactly the state it stored, at any point', () => {
    fc.assert(
      fc.property(dags, actions, (definition, script) => {
        const driver = new Driver(definition);
        driver.apply({ type: 'begin' });
        for (const action of script) if (action.do !== 'crash') driver.perform(action);
        const before = driver.run;
        // Attempts under way would be orphaned by a reload; compare what a claim gives before that.
        for (const step of [...before.running]) driver.end(step, { kind: 'completed', outputs: [] });
        const expected = derived(driver.run);
        driver.reload();
        expect(derived(driver.run)).toEqual(expected);
      }),
      { numRuns: 500 },
    );
  });
});

function derived(run: RunState) {
  return {
    status: run.status,
    ending: run.ending,
    sequence: run.sequence,
    unfinished: run.unfinished,
    waitsFor: [...run.waitsFor],
    // A due retry is in the ready set in memory; after a reload its timer puts it there.
    ready: [...run.ready].filter((step) => !run.steps.has(step)).sort((a, b) => a - b),
    steps: [...run.steps].sort(([a], [b]) => a - b),
    unproven: [...run.unproven],
  };
}
