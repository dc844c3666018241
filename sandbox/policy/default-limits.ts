/** What a plugin gets where neither a rule nor the policy's own defaults say otherwise (design 5.2, 5.5). */

export const DEFAULT_LIMITS = {
  memoryMb: 128,
  cpuMs: 10_000,
  wallMs: 30_000,
  outputBytes: 1_048_576,
  logBytes: 65_536,
  hostCalls: 1000,
} as const;

/** Steps of one trust domain at a time. */
export const DEFAULT_CONCURRENT = 4;

/** How many processes and threads a container may have: gVisor's own count in it (an idle Node takes 58 to 68). */
export const DEFAULT_PIDS = { runc: 64, runsc: 256 } as const;
/** With fewer gVisor ends by itself before the plugin begins. */
export const LEAST_RUNSC_PIDS = DEFAULT_PIDS.runsc;

export const DEFAULT_CONTAINER = { runtime: 'runc', pids: DEFAULT_PIDS.runc, cpus: 1, tmpfsMb: 16 } as const;

/** A step container's own PID 1 ends it after a day at the latest (container/shape.ts): waiting and grace taken off. */
export const MAX_CONTAINER_WALL_MS = 86_220_000;
