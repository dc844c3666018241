/** Ends that the host itself brings about, beside limits that a tier keeps: why, and what the end is called then. Pure. */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import { failedOutcome, type TierOutcome } from './sandbox-result.ts';

export type OwnEnd =
  | { readonly kind: 'fail'; readonly code: ErrorCode; readonly message: string }
  /** It had not begun, and the policy in force has other terms for it: it is put in again. */
  | { readonly kind: 'again' };

/** A Result that came before the end counts when it is one of success. */
export function outcomeOf(ownEnd: OwnEnd, outcome: TierOutcome): TierOutcome {
  if (outcome.status === 'COMPLETED') return outcome;
  if (ownEnd.kind === 'again') {
    if (outcome.status === 'FAILED') return outcome;
    const message = 'the sandbox policy was changed while the step began; it can be run again';
    return failedOutcome('SANDBOX_UNAVAILABLE', message);
  }
  // How a plugin takes it that it is denied, or that its host ends, is no news; of other ends its own error says more.
  const isNews = ownEnd.code !== 'POLICY_DENIED' && ownEnd.code !== 'SANDBOX_UNAVAILABLE';
  if (outcome.status === 'FAILED' && isNews) return outcome;
  return failedOutcome(ownEnd.code, ownEnd.message);
}
