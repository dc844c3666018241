import type { Timer, TimerQueue } from '@flowops/engine/base/timers.ts';
import { type Rest, RestWatch, restOf } from '@flowops/engine/runs/rest.ts';
import { applyEvent, newDraft } from '@flowops/engine/scheduler/decide.ts';
import type { RunEvent } from '@flowops/engine/scheduler/events.ts';
import { newRun, type RunState } from '@flowops/engine/scheduler/state.ts';
import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import { describe, expect, it } from 'vitest';
import { flowOf } from '../../../support/flows.ts';

const TOKEN = '0'.repeat(32);
const start = { type: 'start-step', step: 0, token: TOKEN, host: 'h' } as const;

function runAfter(...events: readonly RunEvent[]): RunState {
  const run = newRun({ flowId: 'f', runId: 'r' }, flowOf({ a: [], b: ['a'] }));
  for (const event of events) applyEvent(run, event, 1_000, newDraft());
  return run;
}

function ended(kind: 'completed' | 'lost'): RunEvent {
  const end = kind === 'completed' ? { kind, outputs: [] } : { kind, message: 'gone', aliveForMs: 0, hostEnded: false };
  return { type: 'attempt-ended', step: 0, token: TOKEN, end };
}

describe('a run', () => {
  it('rests for a command once its pause is quiet, and not before', () => {
    expect(restOf(runAfter({ type: 'begin' }, start, { type: 'pause' }))).toBeUndefined();
    const quiet = runAfter({ type: 'begin' }, start, { type: 'pause' }, ended('completed'));
    expect(restOf(quiet)).toEqual({ kind: 'command' });
  });

  it('rests for a place while a step is ready and none runs', () => {
    expect(restOf(runAfter({ type: 'begin' }))).toEqual({ kind: 'place' });
    expect(restOf(runAfter({ type: 'begin' }, start))).toBeUndefined();
  });

  it('rests until the first of its later tries', () => {
    const run = runAfter({ type: 'begin' });
    run.ready.clear();
    run.steps.set(0, { status: 'WAITING', attempt: 1, faults: 1, crashes: 0, dueMs: 90_000, reason: 'lost' });
    run.steps.set(1, { status: 'WAITING', attempt: 1, faults: 1, crashes: 0, dueMs: 60_000, reason: 'lost' });
    expect(restOf(run)).toEqual({ kind: 'time', dueMs: 60_000 });
  });

  it('does not rest before it has begun, while it ends, and after', () => {
    expect(restOf(runAfter())).toBeUndefined();
    expect(restOf(runAfter({ type: 'begin' }, start, { type: 'stop' }))).toBeUndefined();
    expect(restOf(runAfter({ type: 'begin' }, { type: 'stop' }))).toBeUndefined();
  });
});

class HandTimers implements TimerQueue {
  readonly armed: Timer[] = [];

  arm(dueMs: number, fire: () => void): Timer {
    const timer: Timer = { dueMs, fire, isCancelled: false };
    this.armed.push(timer);
    return timer;
  }

  cancel(timer: Timer): void {
    timer.isCancelled = true;
  }
}

describe('the watch over a rest', () => {
  const PROVEN = { isProven: true };
  const nowMs = 1_000;
  const watch = (delayMs: number) => {
    const timers = new HandTimers();
    const store = Object.assign(openSqliteStore({ file: ':memory:' }), { durability: { description: '', delayMs } });
    let rested = 0;
    const watching = new RestWatch({ clock: { nowMs: () => nowMs }, timers, store }, () => rested++);
    return { watching, timers, rested: () => rested };
  };
  const command: Rest = { kind: 'command' };

  it('tells after a while, once, and not when something came', () => {
    const { watching, timers, rested } = watch(0);
    watching.begin(command, PROVEN);
    watching.begin(command, PROVEN);
    expect(timers.armed.map(({ dueMs }) => dueMs)).toEqual([6_000]);
    watching.end();
    expect(timers.armed[0]?.isCancelled).toBe(true);
    watching.begin(command, PROVEN);
    timers.armed[1]?.fire();
    expect(rested()).toBe(1);
  });

  it('waits at least until what was written last is on disk', () => {
    const { watching, timers } = watch(20_000);
    watching.begin(command, PROVEN);
    expect(timers.armed[0]?.dueMs).toBeGreaterThan(nowMs + 20_000);
  });

  it('does not wait again when the store has proven meanwhile that it holds the run, and does when it has not', () => {
    for (const isProven of [true, false]) {
      const { watching, timers, rested } = watch(2_500);
      watching.begin(command, { isProven: false });
      timers.armed[0]?.fire();
      watching.begin(command, { isProven });
      expect(timers.armed[1]?.dueMs).toBe(isProven ? nowMs : nowMs + 5_000);
      timers.armed[1]?.fire();
      expect(rested()).toBe(2);
    }
  });

  it('waits again after something has come', () => {
    const { watching, timers } = watch(2_500);
    watching.begin(command, { isProven: false });
    timers.armed[0]?.fire();
    watching.end();
    watching.begin(command, PROVEN);
    expect(timers.armed[1]?.dueMs).toBe(nowMs + 5_000);
  });

  it('passes over rests that are over soon', () => {
    const { watching, timers } = watch(0);
    watching.begin({ kind: 'time', dueMs: 2_000 }, PROVEN);
    watching.begin(undefined, PROVEN);
    expect(timers.armed).toEqual([]);
  });
});
