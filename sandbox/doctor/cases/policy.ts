/** Cases. */
import type { HostCase } from '../case.ts';

export const POLICY_CASES: readonly HostCase[] = [];
