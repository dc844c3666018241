/** An attempt table with a policy that a test reloads and tiers whose runs a test ends. */
import { randomBytes } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { digestOf } from '@flowops/proto/ids.ts';
import { InvokeSchema, type Purpose } from '@flowops/proto/sandbox_pb.js';
import type { Caller } from '@flowops/sandbox/attempts/attempt-record.ts';
import { AttemptTable } from '@flowops/sandbox/attempts/attempt-table.ts';
import type { HostResult } from '@flowops/sandbox/attempts/host-result.ts';
import { failedOutcome } from '@flowops/sandbox/attempts/sandbox-result.ts';
import { BundleStore } from '@flowops/sandbox/bundles/bundle-store.ts';
import { noSecrets } from '@flowops/sandbox/host-calls/secret-source.ts';
import { NO_MEMORY, type PluginMemory } from '@flowops/sandbox/ledger/plugin-ledger.ts';
import type { Policy } from '@flowops/sandbox/policy/decision.ts';
import type { Tier, TierEnd, TierEvents, TierOutcome, TierRequest } from '@flowops/sandbox/tier.ts';
import { pino } from 'pino';
import { policyOf } from '../policy/policy-text.ts';

export interface HandRun {
  readonly tier: 'isolate' | 'container';
  readonly request: TierRequest;
  readonly events: TierEvents;
  readonly cancels: { graceMs: number; reason: string }[];
  end(outcome: TierOutcome): Promise<void>;
}

export const COMPLETED: TierOutcome = { status: 'COMPLETED', outputsJson: Buffer.from('{}') };
export const CANCELLED: TierOutcome = { status: 'CANCELLED', message: 'the tier ended it' };
export const failed = (code: Parameters<typeof failedOutcome>[0]) => failedOutcome(code, `it ended with ${code}`);

export interface HandTable {
  readonly table: AttemptTable;
  readonly runs: HandRun[];
  readonly results: HostResult[];
  reload(source: string): void;
  /** The token of a new attempt whose bundle is there. */
  invoke(changes?: {
    name?: string;
    pluginId?: string;
    purpose?: Purpose;
    requestedWallMs?: number;
    requestedTier?: string;
  }): Uint8Array;
  receipt(index: number): unknown;
}

export function handTable(source: string, memory: PluginMemory = NO_MEMORY): HandTable {
  const runs: HandRun[] = [];
  const results: HostResult[] = [];
  const listeners = new Set<(policy: Policy) => void>();
  const bundles = new BundleStore();
  let policy = policyOf(source);
  const table = new AttemptTable({
    tiers: { isolate: handTier('isolate', runs), container: handTier('container', runs) },
    bundles,
    policy: {
      current: () => policy,
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      close: async () => {},
    },
    memory,
    hostCalls: { secrets: noSecrets() },
    log: pino({ level: 'silent' }),
  });
  const caller: Caller = {
    name: 'engine-1',
    heldBytes: 0,
    leaseEndsAtMs: 0,
    started: () => {},
    log: () => true,
    progress: () => {},
    hostCall: () => false,
    result: (result) => results.push(result),
    ended: (token) => {
      const result = table.resultFor(token, caller);
      if (result !== undefined && result !== 'forgotten') results.push(result);
    },
  };
  return {
    table,
    runs,
    results,
    reload: (text) => {
      policy = policyOf(text);
      for (const listener of listeners) listener(policy);
    },
    invoke: ({ name = 'acme.x', pluginId = name, ...changes } = {}) => {
      const bytes = Buffer.from(`//! flowops-plugin {"name":"${name}","version":"1.0.0"}\nexport default 1;\n`);
      const digest = digestOf(bytes);
      bundles.add({ digest, bytes });
      const token = Uint8Array.from(randomBytes(16));
      const ids = { flowId: 'f', runId: 'r', stepId: 's', attempt: 1, epoch: 1n };
      const invoke = create(InvokeSchema, {
        token,
        ...ids,
        pluginId,
        digest,
        inputsJson: Buffer.from('{}'),
        ...changes,
      });
      table.invoke(invoke, caller, () => {});
      return token;
    },
    receipt: (index) => JSON.parse(Buffer.from(results[index]?.receiptJson ?? '').toString()),
  };
}

function handTier(name: 'isolate' | 'container', runs: HandRun[]): Tier {
  return {
    run: (request, events) => {
      const ended = Promise.withResolvers<TierEnd>();
      const cancels: HandRun['cancels'] = [];
      const end = async (outcome: TierOutcome) => {
        ended.resolve({ outcome, figures: FIGURES });
        await ended.promise;
      };
      runs.push({ tier: name, request, events, cancels, end });
      return { ended: ended.promise, cancel: (options) => cancels.push(options), pause: () => {}, resume: () => {} };
    },
    close: async () => {},
  };
}

const FIGURES = {
  tier: 'isolate',
  jail: 'namespaces',
  runtime: 'test',
  freshness: 'isolate',
  imageDigest: null,
  queueMs: 1,
  startMs: 2,
  runMs: 3,
  cpuMs: null,
  peakMemoryBytes: null,
  sources: { cpuMs: 'host', peakMemoryBytes: 'host' },
  droppedLogLines: 0,
} as const;
