/**
 * Who is charged when a worker ends with jobs in it (design 5.2, 5.4). Pure. Order: the host's own reason first, then
 * the kernel's (out of memory), else a crash; and nobody is charged for what another one may have done.
 */
import { assertNever, type ErrorCode } from '@flowops/proto/errors.ts';
import type { StepEnd } from '../steps/step-end.ts';

/** Why a worker is being ended. */
export type EndCause<Attempt> =
  | { readonly kind: 'closed' }
  /** Because of this one, whoever else is in it. */
  | { readonly kind: 'job'; readonly attempt: Attempt; readonly end: StepEnd }
  /** The worker as a whole took too much or stopped answering. */
  | { readonly kind: 'breach'; readonly code: ErrorCode; readonly detail: string }
  /** It went by itself, or broke the protocol. */
  | { readonly kind: 'died'; readonly detail: string };

export interface WorkerDeath<Attempt> {
  readonly cause: EndCause<Attempt>;
  /** It had taken steps at all. */
  readonly wasReady: boolean;
  /** One job was in it, and no other had been a moment before. */
  readonly wasAlone: boolean;
  /** The kernel killed a process of its memory group. */
  readonly isOom: boolean;
  /** What of ours took it down, where that is known. */
  readonly fault?: string | undefined;
}

export function endOfJob<Attempt>(attempt: Attempt, death: WorkerDeath<Attempt>): StepEnd {
  const { cause, wasAlone, wasReady, isOom, fault } = death;
  if (!wasReady) return { kind: 'innocent', detail: 'its sandbox did not start' };
  switch (cause.kind) {
    case 'closed':
      return { kind: 'innocent', detail: 'its sandbox was closed' };
    case 'job':
      if (cause.attempt === attempt) return cause.end;
      return { kind: 'innocent', detail: 'its sandbox was ended because of another step' };
    case 'breach':
      if (wasAlone) return { kind: 'charged', code: cause.code, detail: cause.detail };
      return { kind: 'suspect', detail: cause.detail };
    case 'died': {
      if (!isOom && fault !== undefined) return { kind: 'innocent', detail: fault };
      const detail = isOom ? 'its sandbox ran out of memory' : 'its sandbox died';
      if (!wasAlone) return { kind: 'suspect', detail };
      return { kind: 'charged', code: isOom ? 'LIMIT_MEMORY' : 'SANDBOX_CRASHED', detail };
    }
    default:
      return assertNever(cause);
  }
}
