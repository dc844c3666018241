/**
 * Which ends count against a plugin (design 5.5, onViolation). Pure.
 *
 * What counts is the end as the host decided it (5.4: a checked Result first, then the host's own reason to kill), never
 * a figure that a worker tells. A worker that lies can only speak of steps that ran in it, which are all of one trust
 * domain: it can have its own plugins demoted, and no others'. What kills it, or what the host's own clocks and counts
 * end, it cannot hide. Demotion leads to the container tier, so what happens there is not counted.
 */
import { type ErrorCode, errorInfo } from '@flowops/proto/errors.ts';
import type { TierEnd } from '../tier.ts';
import type { AdmittedAttempt } from './admission.ts';

/** The code that counts; undefined: the plugin did nothing that does. */
export function violationOf(
  { outcome, isStarved = false }: Pick<TierEnd, 'outcome' | 'isStarved'>,
  { tier, onViolation }: Pick<AdmittedAttempt, 'tier' | 'onViolation'>,
): ErrorCode | undefined {
  if (isStarved) return undefined; // a machine with too much to do is no fault of the plugin
  if (outcome.status !== 'FAILED' || onViolation === undefined || tier === 'container') return undefined;
  const { code } = outcome;
  if (code === 'LIMIT_WALL' && !onViolation.countsWall) return undefined;
  return code === 'SANDBOX_CRASHED' || errorInfo(code).fault === 'limit' ? code : undefined;
}
