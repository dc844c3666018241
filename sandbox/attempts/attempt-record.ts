/**
 * One attempt as the host knows it: from Invoke to the acknowledgement of its result. Which phase leads where is
 * attempt-table.ts; this file is the shape.
 *
 *   waiting-for-bundle → in-tier (queued, starting, running, cancelling: the tier knows) → ended → (ResultAck) gone
 */
import type { Invoke } from '@flowops/proto/sandbox_pb.js';
import type { TierHostCall, TierRun } from '../tier.ts';
import type { AdmittedAttempt } from './admission.ts';
import { DebugCalls } from './debug-calls.ts';
import type { HostResult } from './host-result.ts';
import type { OwnEnd } from './own-end.ts';

/** From the wall limit, which a tier enforces half a second later, to the proof that nothing runs; Docker may be slow. */
const ENDING_MS = 5_500;
/** A uint32 of the wire. */
const MAX_WIRE_MS = 2 ** 32 - 1;

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
  /** When it has ended at the latest, as performance.now() counts; undefined until it starts. */
  lifeEndsAtMs: number | undefined;
}

/** @param invoke with copies of what came: views of the socket's buffer would keep it alive with the attempt */
export function newRecord(key: string, invoke: Invoke, caller: Caller): AttemptRecord {
  return {
    ...{ key, token: invoke.token, invoke, caller, phase: { name: 'waiting-for-bundle', since: performance.now() } },
    ...{
      hasStarted: false,
      isCancelled: false,
      ownEnd: undefined,
      heldBytes: 0,
      lostLines: 0,
      lifeEndsAtMs: undefined,
    },
    debug: invoke.debug ? new DebugCalls() : undefined,
  };
}

/** Its first instruction runs, for the first time or anew. */
export function noteStarted(record: AttemptRecord, wallMs: number): void {
  record.hasStarted = true;
  record.lifeEndsAtMs = performance.now() + wallMs + ENDING_MS;
}

/** For Started; never 0, which says nothing. */
export function lifeLeftMs({ lifeEndsAtMs }: AttemptRecord): number {
  if (lifeEndsAtMs === undefined) return 0;
  return Math.min(MAX_WIRE_MS, Math.max(1, Math.ceil(lifeEndsAtMs - performance.now())));
}

/** A token as the key of maps: 32 hex digits. */
export function keyOf(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.length).toString('hex');
}

/** What a record may do to the connection it belongs to. */
export interface Caller {
  readonly name: string;
  /** Of all its attempts. */
  heldBytes: number;
  /** Until when its attempts may go on without it, as performance.now() counts. */
  readonly leaseEndsAtMs: number;
  /** @param wallMs how long from now it may run at most */
  started(token: Uint8Array, wallMs: number): void;
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
