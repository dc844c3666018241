/** What a program holds of one run: its events out of the store, its end, and the commands to it. */
import { FlowopsError } from '@flowops/proto/errors.ts';
import type { Json, JsonObject } from '@flowops/proto/json.ts';
import {
  type FlowStatus,
  isFinalFlowStatus,
  runKey,
  type StatusEvent,
  statusEventSchema,
} from '@flowops/proto/statuses.ts';
import { decodeMeta, isOutcomeEntry } from '../runs/codec.ts';
import { isFinalStatus, type StoredRunState } from '../scheduler/state.ts';
import type { RunRef, RunStore, StoredRun } from '../store/run-store.ts';
import type { SqliteHistory } from '../store/sqlite-history.ts';
import type { EventsOptions, FlowRun, RunResult } from './api.ts';
import { asFlowopsError } from './as-flowops-error.ts';
import type { RunBell } from './run-bell.ts';

/** Entries read at once: a reader that is slow holds no more than these. */
const ENTRIES_PER_READ = 256;

/** What the runs of one engine share. */
export interface RunReading {
  readonly store: RunStore;
  readonly history: SqliteHistory;
  readonly bell: RunBell;
  /** Aborts, with a FlowopsError, when the engine closes. */
  readonly closed: AbortSignal;
  /** Whether this engine runs it. One that it does not run and that can be read has ended. */
  isUnderWay(run: RunRef): boolean;
  /** Resolves when this engine does not run it any more. @throws the signal's reason */
  ended(run: RunRef, signal: AbortSignal): Promise<void>;
  command(run: RunRef, eventType: 'PAUSE' | 'RESUME' | 'STOP', reason?: string): Promise<void>;
  /** Does it unless the engine is closed; what goes wrong is a FlowopsError. */
  guard<T>(work: () => Promise<T>): Promise<T>;
}

/** @param toldBefore sequence of the last event that was told */
export function makeRun({ flowId, runId }: RunRef, toldBefore: number, reading: RunReading): FlowRun {
  const ref = { flowId, runId };
  const { guard } = reading;
  return {
    ...ref,
    toldBefore,
    status: () => guard(() => readStatus(ref, reading)),
    events: (options = {}) => follow(ref, options, reading),
    result: ({ signal } = {}) => guard(() => readResult(ref, reading, signal)),
    pause: () => guard(() => reading.command(ref, 'PAUSE')),
    resume: () => guard(() => reading.command(ref, 'RESUME')),
    stop: (reason) => guard(() => reading.command(ref, 'STOP', reason)),
  };
}

/** Sequence of the last event of a stored run that was told to somebody. */
export function toldOf(stored: StoredRun): number {
  const untold = stored.outbox.filter((entry) => !isOutcomeEntry(entry)).length;
  return decodeMeta(stored.meta).state.sequence - untold;
}

/** How a stored run ended; undefined when it has not. */
export function endOf(stored: StoredRun | undefined): StoredRunState | undefined {
  if (stored === undefined) return undefined;
  const { state } = decodeMeta(stored.meta);
  return isFinalStatus(state.status) ? state : undefined;
}

async function* follow(
  ref: RunRef,
  { from = 1, signal }: EventsOptions,
  reading: RunReading,
): AsyncGenerator<StatusEvent, void> {
  if (!Number.isSafeInteger(from) || from < 1) {
    throw new FlowopsError('COMMAND_INVALID', `events are counted from 1; from is ${from}`);
  }
  const { history, bell } = reading;
  const until = eitherOf(reading.closed, signal);
  const listener = bell.listen(runKey(ref));
  try {
    for (let position = from; ; ) {
      until.throwIfAborted();
      const entries = history.entries(ref, position, ENTRIES_PER_READ);
      for (const { position: at, body } of entries) {
        position = at + 1;
        if (isOutcomeEntry(body)) continue;
        const event = statusEventSchema.parse(JSON.parse(body));
        if ((event.sequence ?? at) >= from) yield event;
        if (event.eventType === 'FLOW_STATUS' && isFinalFlowStatus(event.status)) return;
      }
      if (entries.length > 0) continue;
      // Its final event came before `from`, or is not kept any more.
      if (!reading.isUnderWay(ref)) return;
      await listener.rung(until);
    }
  } catch (thrown) {
    throw asFlowopsError(thrown);
  } finally {
    listener.stop();
  }
}

async function readStatus(ref: RunRef, { store }: RunReading): Promise<FlowStatus> {
  const stored = await store.read(ref);
  if (stored === undefined) throw notKept(ref);
  const { status } = decodeMeta(stored.meta).state;
  return status === 'QUEUED' ? 'PENDING' : status;
}

async function readResult(ref: RunRef, reading: RunReading, signal: AbortSignal | undefined): Promise<RunResult> {
  const { store } = reading;
  await reading.ended(ref, eitherOf(reading.closed, signal));
  const end = endOf(await store.read(ref));
  if (end === undefined || !isFinalStatus(end.status)) throw notKept(ref);
  const outputs = groupOutputs(await store.readAllOutputs(ref));
  return { runId: ref.runId, status: end.status, outputs, error: end.error, code: end.code };
}

function eitherOf(closed: AbortSignal, signal: AbortSignal | undefined): AbortSignal {
  return signal === undefined ? closed : AbortSignal.any([closed, signal]);
}

function notKept({ runId }: RunRef): FlowopsError {
  return new FlowopsError('RUN_UNKNOWN', `run ${runId} is not kept any more (RUN_RETENTION)`);
}

/** From `stepId.key` → JSON text to stepId → key → value. A stepId has no dot. */
function groupOutputs(outputs: ReadonlyMap<string, string>): Record<string, JsonObject> {
  const grouped: Record<string, JsonObject> = {};
  for (const [name, text] of outputs) {
    const dot = name.indexOf('.');
    const stepId = name.slice(0, dot);
    grouped[stepId] ??= {};
    grouped[stepId][name.slice(dot + 1)] = JSON.parse(text) as Json; // written by readAttemptEnd
  }
  return grouped;
}
