/** Cases. */
import type { HostCase } from '../case.ts';

export const WORKER_CASES: readonly HostCase[] = [];
