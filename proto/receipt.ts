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

export const netUseSchema = z.object({
  /** `host:port`, or "other". */
  host: z.string(),
  calls: z.number().int(),
  bytesOut: z.number(),
  /** After decompression. */
  bytesIn: z.number(),
  ms: z.number(),
});
export type NetUse = z.output<typeof netUseSchema>;

export const receiptSchema = z.object({
  tier: z.enum(['isolate', 'container']),
  /** `namespaces`: the worker process is jailed; `container`: the worker is a container; `none`: only the isolate. */
  jail: z.enum(['namespaces', 'container', 'none']),
  /** "isolated-vm 7.0.1", of a worker container "isolated-vm 7.0.1 in runc"; "runc", "runsc". */
  runtime: z.string(),
  /** `context`: a fresh context in an isolate that ran other steps of the same bundle; not a boundary. */
  freshness: z.enum(['isolate', 'context', 'container']),
  bundleDigest: z.string(),
  /** Whose key verified the bundle; null = unsigned. */
  publisher: z.string().nullable(),
  /** Why the signature that came with it did not count; absent when there was none, or it did. */
  signatureProblem: z.string().optional(),
  imageDigest: z.string().nullable(),
  /** "rule 2 (sandbox-policy.yaml:14)", "defaults", "developer policy". */
  rule: z.string(),
  policyHash: z.string(),
  limits: limitsSchema,
  queueMs: z.number(),
  startMs: z.number(),
  /** Wall time from the guest's first instruction to its end. */
  runMs: z.number(),
  /**
   * Null without a source. Of an isolate, `host` figures are the kernel's of the whole worker process while this step
   * and no other was in it (its base of some tens of MB and its helper threads included); `worker` figures are of the
   * isolate alone, by the worker's word.
   */
  cpuMs: z.number().nullable(),
  peakMemoryBytes: z.number().nullable(),
  bytesIn: z.number(),
  bytesOut: z.number(),
  hostCalls: z.number(),
  /** What went through the host for the plugin, by destination; bounded, the rest is summed up under "other". */
  net: z.array(netUseSchema),
  /** Names of the secrets that were read. */
  secrets: z.array(z.string()),
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
