/**
 * One attempt as the host knows it: from Invoke to the acknowledgement of its result. Which phase leads where is
 * attempt-table.ts; this file is the shape.
 *
 *   waiting-for-bundle → in-tier (queued, starting, running, cancelling: the tier knows) → ended → (ResultAck) gone
 */
import type { Invoke } from '@flowops/proto/sandbox_pb.js';
import type { TierHostCall, TierRun } from '../tier.ts';
import type { AdmittedAttempt } from './admission.ts';
import type { DebugCalls } from './debug-calls.ts';
import type { HostResult } from './host-result.ts';
import type { OwnEnd } from './own-end.ts';

export interface CancelRequest {
  readonly graceMs: number;
  readonly reason: string;
}

export type AttemptPhase =
  | { readonly name: 'waiting-for-bundle'; readonly since: number }
  | { readonly name: 'in-tier'; readonly run: TierRun; readonly admitted: AdmittedAttempt }
  | { readonly name: 'ended'; readonly result: HostResult };

export interface AttemptRecord {
  /** 32 hex digits. */
  readonly key: string;
  readonly token: Uint8Array;
  /** Its inputs are gone when it has ended. */
  invoke: Invoke;
  /** Absent while nobody is connected for it. */
  caller: Caller | undefined;
  phase: AttemptPhase;
  hasStarted: boolean;
  /** Of a debugged attempt. */
  readonly debug: DebugCalls | undefined;
  /** The caller, or the end of its lease, cancelled it. */
  isCancelled: boolean;
  /** Why this host cancelled it by itself, and what its end is to be called; the first reason counts. */
  ownEnd: OwnEnd | undefined;
  /** Counted in its caller's `heldBytes`. */
  heldBytes: number;
  /** Lines of its log that no caller took. */
  lostLines: number;
}

/** What a record may do to the connection it belongs to. */
export interface Caller {
  readonly name: string;
  /** Of all its attempts. */
  heldBytes: number;
  started(token: Uint8Array): void;
  /** False when it cannot be told: the line is lost. */
  log(line: { token: Uint8Array; level: string; message: string; fieldsJson: Uint8Array; timeMs: bigint }): boolean;
  progress(progress: { token: Uint8Array; fraction: number; message: string }): void;
  /** Of a debugged attempt; false when nobody is there. */
  hostCall(token: Uint8Array, call: TierHostCall): boolean;
  /** Of what no record is kept of. */
  result(result: HostResult): void;
  /** Its result is there; it is fetched with `resultFor` when the connection has room for it. */
  ended(token: Uint8Array): void;
}
