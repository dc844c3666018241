/** Cases 25 to 35 and 60 to 62. */
import type { PluginCase } from '../case.ts';

export const CONTAINER_CASES: readonly PluginCase[] = [];
