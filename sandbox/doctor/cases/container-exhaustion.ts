/** Cases 11 to 23. */
import type { PluginCase } from '../case.ts';

export const CONTAINER_EXHAUSTION_CASES: readonly PluginCase[] = [];
