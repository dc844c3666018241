/**
 * What a reloaded policy means for an attempt that a tier has (design 5.5). Pure.
 *
 * One that has not begun is asked about anew: it ends when it is refused now, and is put in again when it would run
 * differently. One that runs keeps the policy it began with, unless the new one denies it and says `stopRunning: true`.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { Admission, AdmittedAttempt } from './admission.ts';

export type Reconsidered =
  | { readonly kind: 'keep' }
  | { readonly kind: 'deny'; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: 'again' };

export function reconsider(
  former: AdmittedAttempt,
  now: Admission,
  { hasStarted, stopRunning }: { readonly hasStarted: boolean; readonly stopRunning: boolean },
): Reconsidered {
  if (hasStarted && !stopRunning) return { kind: 'keep' };
  if (!now.ok && now.isPassing === true) return { kind: 'keep' };
  if (!now.ok) return { kind: 'deny', code: now.code, message: now.message };
  return hasStarted || isDeepStrictEqual(termsOf(former), termsOf(now)) ? { kind: 'keep' } : { kind: 'again' };
}

/** What makes a difference to how it runs; not where in the file that stands. */
function termsOf({ tier, grants, publisher, request }: AdmittedAttempt) {
  const { limits, domain, concurrent, jail, freshness, container } = request;
  return { tier, grants, publisher, limits, domain, concurrent, jail, freshness, container };
}
