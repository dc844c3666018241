/** Cases. */
import type { HostCase } from '../case.ts';

export const RPC_CASES: readonly HostCase[] = [];
