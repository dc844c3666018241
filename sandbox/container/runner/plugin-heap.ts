/**
 * How large the plugin's heap may become: a little smaller than the container, so that V8 collects garbage in time
 * instead of letting it grow until the kernel kills. What really counts is the container's limit, which is the kernel's.
 */
import { BASE_MEMORY_MB, MAX_HEAP_MB, MAX_YOUNG_MB, MIN_HEAP_MB, MIN_YOUNG_MB } from './limits.ts';

const MEBIBYTE = 1024 * 1024;
/** Of the container, for objects that live shortly: more saves work, less leaves more for the others. */
const YOUNG_SHARE = 1 / 16;

export interface PluginHeap {
  readonly youngMb: number;
  readonly oldMb: number;
}

/**
 * @param constrainedBytes the cgroup's limit as Node reads it, 0 where it sees none.
 * @param totalBytes the machine's memory, which is where gVisor shows a container's limit.
 */
export function pluginHeap(constrainedBytes: number, totalBytes: number): PluginHeap {
  const limitBytes = constrainedBytes === 0 ? totalBytes : Math.min(constrainedBytes, totalBytes);
  const limitMb = Math.floor(limitBytes / MEBIBYTE);
  const youngMb = clamp(Math.floor(limitMb * YOUNG_SHARE), MIN_YOUNG_MB, MAX_YOUNG_MB);
  return { youngMb, oldMb: clamp(limitMb - BASE_MEMORY_MB - youngMb, MIN_HEAP_MB, MAX_HEAP_MB) };
}

function clamp(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(most, value));
}
