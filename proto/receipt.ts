/** What a sandbox host tells about every attempt (design 5.4), and what a worker tells the host. */
import { z } from 'zod';

/** Where a figure comes from: the kernel, Docker or the host's own count; or the sandbox's own word. */
const sourceSchema = z.enum(['host', 'worker']);

export const limitsSchema = z.object({
  memoryMb: z.number().int(),
  cpuMs: z.number().int(),
  wallMs: z.number().int(),
  outputBytes: z.number().int(),
  logBytes: z.number().int(),
  hostCalls: z.number().int(),
});
export type EffectiveLimits = z.output<typeof limitsSchema>;

export const receiptSchema = z.object({
  tier: z.enum(['isolate', 'container']),
  /** `namespaces`: the worker process is jailed; `container`: the worker is a container; `none`: only the isolate. */
  jail: z.enum(['namespaces', 'container', 'none']),
  /** "isolated-vm 7.0.1", "runc", "runsc". */
  runtime: z.string(),
  bundleDigest: z.string(),
  imageDigest: z.string().nullable(),
  /** "rule 2 (sandbox-policy.yaml:14)", "defaults", "developer policy". */
  rule: z.string(),
  policyHash: z.string(),
  limits: limitsSchema,
  queueMs: z.number(),
  startMs: z.number(),
  /** Wall time from the guest's first instruction to its end. */
  runMs: z.number(),
  /** null without a kernel source. */
  cpuMs: z.number().nullable(),
  peakMemoryBytes: z.number().nullable(),
  bytesIn: z.number(),
  bytesOut: z.number(),
  hostCalls: z.number(),
  droppedLogLines: z.number(),
  sources: z.object({ cpuMs: sourceSchema, peakMemoryBytes: sourceSchema }),
});
export type Receipt = z.output<typeof receiptSchema>;

/** Told by an isolate worker in Result.receipt_json; believed only as `worker` figures. */
export const workerUsageSchema = z.object({
  cpuMs: z.number().nonnegative(),
  heapBytes: z.number().nonnegative(),
  runMs: z.number().nonnegative(),
});
export type WorkerUsage = z.output<typeof workerUsageSchema>;
