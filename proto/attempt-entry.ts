/**
 * One attempt on one connection to a sandbox host, as sandbox-client.ts keeps it: what was asked, how far it got, and how
 * long code of it may run at most once nothing more is heard. Its Invoke as bytes of the wire. No I/O.
 */
import type { AttemptListener, AttemptOutcome, AttemptRequest } from './attempt.ts';
import type { PeerMessageInit } from './peer.ts';
import { Purpose } from './sandbox_pb.js';

/**
 * For an attempt whose start was not told. Its host starts nothing whose lease is over, so it matters only where Started
 * was lost on its way and the host then hung: twice what a policy gives that says nothing.
 */
const UNTOLD_LIFE_MS = 60_000;
/** The host's clock may run a little slower than ours. */
const CLOCK_MARGIN = 1.01;

export interface Entry {
  readonly token: Uint8Array;
  readonly listener: AttemptListener;
  readonly epoch: number;
  /** Absent on an attempt that was attached to: the host has its bundle. */
  readonly request?: AttemptRequest;
  readonly settle: (outcome: AttemptOutcome) => void;
  /** `waiting`: its Invoke has not left. */
  phase: 'waiting' | 'running' | 'ended';
  /** The host has never heard of it. */
  isUntold: boolean;
  hasStarted: boolean;
  /** When the host has ended it at the latest, as performance.now() counts; undefined: not told. */
  lifeEndsAtMs: number | undefined;
}

/** The host said that it runs and for how long at most; true the first time. */
export function noteStarted(entry: Entry, wallMs: number): boolean {
  if (wallMs > 0) entry.lifeEndsAtMs = performance.now() + wallMs * CLOCK_MARGIN;
  if (entry.hasStarted) return false;
  entry.hasStarted = true;
  return true;
}

/** How long from now code of it may still run when its host cannot be asked. */
export function lifeLeftMs(entry: Entry): number {
  if (entry.isUntold) return 0;
  if (entry.lifeEndsAtMs === undefined) return Math.max(UNTOLD_LIFE_MS, entry.request?.requestedWallMs ?? 0);
  return Math.max(0, entry.lifeEndsAtMs - performance.now());
}

type InvokeInit = Extract<PeerMessageInit, { case: 'invoke' }>['value'];

export function invokeOf(token: Uint8Array, request: AttemptRequest): InvokeInit {
  return {
    token,
    purpose: request.purpose === 'inspect' ? Purpose.INSPECT : Purpose.RUN,
    flowId: request.flowId,
    runId: request.runId,
    stepId: request.stepId,
    attempt: request.attempt,
    epoch: BigInt(request.epoch),
    pluginId: request.pluginId,
    pluginVersion: request.pluginVersion,
    digest: request.digest,
    signature: request.signature ?? '',
    inputsJson: Buffer.from(request.inputsJson),
    idempotencyKey: request.idempotencyKey,
    requestedWallMs: request.requestedWallMs ?? 0,
    requestedTier: request.requestedTier ?? '',
    debug: request.debug === true,
  };
}

export function hexOf(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.length).toString('hex');
}
