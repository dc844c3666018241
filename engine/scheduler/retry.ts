/**
 * What follows when an attempt ended by a fault of the infrastructure (G9): a try after a backoff, within a budget of
 * its own, or the step's failure. A step under which its sandbox host died again and again is not given to further
 * hosts (quarantine). Pure: the jitter comes from the attempt's token.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { StepState } from './state.ts';

/** After this many faults in a row the step fails, naming the fault: together about 6 s of waiting. */
export const MAX_FAULTS_PER_STEP = 5;
/** After this many hosts that died under it the step fails: twice can be chance. */
export const MAX_CRASHES_PER_STEP = 3;
/** From here on a step runs beside no other suspect, so that the next death shows who it was. */
export const SUSPECT_FROM_CRASHES = 2;
const FIRST_BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 10_000;

export interface Fault {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly crash?: 'step' | 'other' | undefined;
}

export type AfterFault =
  | { readonly kind: 'again'; readonly faults: number; readonly crashes: number; readonly backoffMs: number }
  | { readonly kind: 'fail'; readonly code: ErrorCode; readonly message: string };

export function afterFault(state: StepState & { status: 'RUNNING' }, { code, reason, crash }: Fault): AfterFault {
  const crashes = state.crashes + (crash === 'step' ? 1 : 0);
  if (crashes >= MAX_CRASHES_PER_STEP) {
    const message = `the sandbox host died ${crashes} times while this step ran, at last with no other suspect beside it; it is not tried on another one`;
    return { kind: 'fail', code: 'SANDBOX_CRASHED', message };
  }
  // Who ran beside a suspect pays nothing for it.
  const faults = state.faults + (crash === 'other' ? 0 : 1);
  if (faults > MAX_FAULTS_PER_STEP) {
    const message = `${reason} (${faults} times in a row; the infrastructure needs attention)`;
    return { kind: 'fail', code, message };
  }
  return { kind: 'again', faults, crashes, backoffMs: backoffMs(Math.max(1, faults), state.token) };
}

/** Doubling, half of it jitter, so that the steps of a host that died do not come back at once. @param faults from 1 */
export function backoffMs(faults: number, token: string): number {
  const ms = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (faults - 1));
  return Math.round(ms / 2 + (ms / 2) * fractionOf(token));
}

/** In [0, 1), the same for the same text: FNV-1a. */
function fractionOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return (hash >>> 0) / 2 ** 32;
}
