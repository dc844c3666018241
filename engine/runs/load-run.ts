/** From what the store holds of a run to what an ActiveRun is made of. */
import { messageOf } from '@flowops/proto/errors.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import type { FlowDefinition } from '../scheduler/definition.ts';
import { isFinalRun, newRun, type RunState, restoreRun, type StepState } from '../scheduler/state.ts';
import {
  type ClaimedRun,
  isStateFormat,
  type RunMeta,
  type RunRef,
  type StateFormat,
  StoreDamaged,
} from '../store/run-store.ts';
import { decodeDefinition, decodeMeta, decodeSteps, type RunRecord } from './codec.ts';
import type { WholeRun } from './merge-patches.ts';

/** The definition of a run that was accepted and not checked yet. */
export const EMPTY_DEFINITION: FlowDefinition = { plugins: [], steps: [], inputs: {} };

/** Stands for attempts whose tokens are not known. */
const ASSUMED = 'assumed';

export interface LoadedRun {
  /** To be written again should the store lose it. */
  readonly whole: WholeRun;
  readonly state: RunState;
  readonly record: RunRecord;
  readonly revision: number;
  readonly outboxHead: number;
  readonly format: StateFormat;
  readonly unsent: readonly string[];
  readonly notes: readonly string[];
  /** Of a queued run: what has to be planned. */
  readonly queued: { readonly steps: unknown; readonly inputs: JsonObject } | undefined;
}

/** What the older format cannot tell of a claimed run is assumed at its worst. */
export interface ClaimTime {
  readonly nowMs: number;
  /** How long an attempt of a former owner may run on at most, ms. */
  readonly leaseMs: number;
}

/** @throws StoreDamaged when the stored run cannot be read; it is left untouched. */
export function loadRun(ref: RunRef, stored: ClaimedRun, time: ClaimTime): LoadedRun {
  const { state: fields, record, format } = readMeta(stored.meta);
  return readable(() => {
    const definition = decodeDefinition(stored.definition);
    const state =
      definition.kind === 'planned'
        ? restoreRun(ref, definition.definition, fields, decodeSteps(stored.steps))
        : Object.assign(newRun(ref, EMPTY_DEFINITION), fields);
    if (format === 1) assumeUnproven(state, time);
    const { revision, outboxHead } = stored.meta;
    const queued = definition.kind === 'queued' && fields.status === 'QUEUED' ? definition : undefined;
    const whole = wholeOf(stored);
    return { whole, state, record, revision, outboxHead, format, unsent: stored.outbox, notes: stored.notes, queued };
  });
}

/** @throws StoreDamaged also for a format that this release does not read. */
export function readMeta(meta: RunMeta): ReturnType<typeof decodeMeta> & { readonly format: StateFormat } {
  const { format } = meta;
  if (!isStateFormat(format)) throw new StoreDamaged(`it was written in format ${format}, by another release`);
  return { ...readable(() => decodeMeta(meta)), format };
}

function readable<Result>(read: () => Result): Result {
  try {
    return read();
  } catch (thrown) {
    throw new StoreDamaged(`what the store holds of the run cannot be read: ${messageOf(thrown)}`, { cause: thrown });
  }
}

/**
 * Format 1 does not hold which lost attempts may still run. A step that was tried again after a fault may hide one, for as
 * long as a host lets it run without its engine, counted from the try that hides it (G5).
 */
function assumeUnproven(state: RunState, { nowMs, leaseMs }: ClaimTime): void {
  if (isFinalRun(state)) return;
  let untilMs = 0;
  for (const step of state.steps.values()) untilMs = Math.max(untilMs, hiddenSinceMs(step, nowMs) + leaseMs);
  if (untilMs > nowMs) state.unproven.set(ASSUMED, { host: '', untilMs });
}

/** When an attempt may have been lost at the latest; long ago when none was. */
function hiddenSinceMs(step: StepState, nowMs: number): number {
  // No fault was counted: the tries before ended for sure, or were taken over.
  if ('faults' in step && step.faults === 0) return Number.NEGATIVE_INFINITY;
  if (step.status === 'WAITING') return nowMs;
  if (step.attempt <= 1) return Number.NEGATIVE_INFINITY;
  return 'startedAtMs' in step ? step.startedAtMs : step.endedAtMs;
}

/** All of a stored run but its outputs. */
function wholeOf({ meta, definition, steps, outbox }: ClaimedRun): WholeRun {
  const { fields, outboxHead } = meta;
  return { definition, meta: fields, steps: Object.fromEntries(steps), events: outbox, outboxFrom: outboxHead };
}

/** The outputs that a store may still lose: of steps that completed since. As `stepId.outputKey`. */
export function outputsSince(state: RunState, sinceMs: number): readonly string[] {
  const { steps, plugins } = state.definition;
  const names: string[] = [];
  for (const [index, step] of state.steps) {
    const planned = steps[index];
    if (planned === undefined || step.status !== 'COMPLETED' || step.endedAtMs < sinceMs) continue;
    for (const key of Object.keys(plugins[planned.plugin]?.outputs ?? {})) names.push(`${planned.stepId}.${key}`);
  }
  return names;
}
