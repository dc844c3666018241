/** What can happen to a run (events), and what the core asks the shell to do after the commit (effects). */
import type { ErrorCode } from '@flowops/proto/errors.ts';

export type AttemptEnd =
  | {
      readonly kind: 'completed';
      /** outputKey → JSON text. */
      readonly outputs: readonly (readonly [key: string, json: string])[];
    }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string; readonly isRetryable: boolean }
  | { readonly kind: 'cancelled' }
  /** The run has a new owner and nothing runs the attempt any more: a free rerun, no fault is counted. */
  | { readonly kind: 'orphaned' }
  /** The sandbox host is gone, or out of reach for too long. */
  | {
      readonly kind: 'lost';
      readonly message: string;
      /** How long from now code of it may still run at most; 0: that none runs is proven. */
      readonly aliveForMs: number;
      /** The host's process ended under it. `step`: this attempt may be why. `other`: a suspect ran beside it. */
      readonly crash?: 'step' | 'other';
    };

export type RunEvent =
  | { readonly type: 'begin' }
  /** The definition of a queued run cannot be run; nothing of it ever ran. */
  | { readonly type: 'reject'; readonly code: ErrorCode; readonly message: string }
  /** A place, a host and the inputs are there for a ready step. */
  | { readonly type: 'start-step'; readonly step: number; readonly token: string; readonly host: string }
  /** A ready step cannot start: its inputs do not fit. */
  | { readonly type: 'refuse-step'; readonly step: number; readonly code: ErrorCode; readonly message: string }
  | {
      readonly type: 'attempt-ended';
      readonly step: number;
      readonly token: string;
      readonly end: AttemptEnd;
      /** Told with the step's event, opaque to the core. */
      readonly receipt?: unknown;
    }
  /** Nothing of an attempt in `unproven` runs any more. */
  | { readonly type: 'end-proven'; readonly token: string }
  | { readonly type: 'backoff-over'; readonly step: number }
  | { readonly type: 'pause' }
  | { readonly type: 'resume' }
  | { readonly type: 'stop' }
  /** The rest of an ending that did not fit into one commit. */
  | { readonly type: 'continue' };

export type Effect =
  | { readonly type: 'start-attempt'; readonly step: number; readonly attempt: number; readonly token: string }
  | { readonly type: 'cancel-attempt'; readonly step: number; readonly token: string; readonly reason: string }
  | { readonly type: 'pause-attempts' }
  | { readonly type: 'resume-attempts' }
  /** Post `end-proven` when the attempt's end is proven, at the latest at `untilMs`. */
  | { readonly type: 'seek-proof'; readonly token: string; readonly host: string; readonly untilMs: number }
  | { readonly type: 'arm-backoff'; readonly step: number; readonly dueMs: number }
  | { readonly type: 'disarm-backoffs' }
  /** The last running step of a paused run has ended. */
  | { readonly type: 'quiescent' }
  /** Apply `continue` in a commit of its own. */
  | { readonly type: 'continue' }
  | { readonly type: 'finished' };
