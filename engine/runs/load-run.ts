/** From what the store holds of a run to what an ActiveRun is made of. */
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import type { FlowDefinition } from '../scheduler/definition.ts';
import { newRun, type RunState, restoreRun } from '../scheduler/state.ts';
import type { RunRef, StoredRun } from '../store/run-store.ts';
import { decodeDefinition, decodeMeta, decodeSteps, type RunRecord } from './codec.ts';

/** The definition of a run that was accepted and not checked yet. */
export const EMPTY_DEFINITION: FlowDefinition = { plugins: [], steps: [], inputs: {} };

export interface LoadedRun {
  readonly state: RunState;
  readonly record: RunRecord;
  readonly revision: number;
  readonly outboxHead: number;
  readonly unsent: readonly string[];
  /** Of a queued run: what has to be planned. */
  readonly queued: { readonly steps: unknown; readonly inputs: JsonObject } | undefined;
}

/** @throws FlowopsError when the stored run cannot be read; it is left untouched. */
export function loadRun(ref: RunRef, stored: StoredRun): LoadedRun {
  try {
    const { state: fields, record } = decodeMeta(stored.meta);
    const definition = decodeDefinition(stored.definition);
    const state =
      definition.kind === 'planned'
        ? restoreRun(ref, definition.definition, fields, decodeSteps(stored.steps))
        : Object.assign(newRun(ref, EMPTY_DEFINITION), fields);
    const { revision, outboxHead } = stored.meta;
    const queued = definition.kind === 'queued' && fields.status === 'QUEUED' ? definition : undefined;
    return { state, record, revision, outboxHead, unsent: stored.outbox, queued };
  } catch (thrown) {
    throw new FlowopsError('COMMAND_INVALID', `what the store holds of the run cannot be read: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}
