/** A sandbox host over hand-written connections, with a tier whose attempts end when the test says so. */
import { pino } from 'pino';
import { type Mock, vi } from 'vitest';
import { digestOf } from '../../../proto/ids.ts';
import { AttemptTable } from '../../../sandbox/attempts/attempt-table.ts';
import { BundleStore } from '../../../sandbox/bundles/bundle-store.ts';
import { Host } from '../../../sandbox/host.ts';
import { noSecrets, type SecretSource } from '../../../sandbox/host-calls/secret-source.ts';
import { NO_MEMORY } from '../../../sandbox/ledger/plugin-ledger.ts';
import type { Decision, PolicyRequest } from '../../../sandbox/policy/decision.ts';
import { DEFAULT_CONTAINER } from '../../../sandbox/policy/default-limits.ts';
import type { Tier, TierEnd, TierEvents, TierOutcome, TierRequest, TierRun } from '../../../sandbox/tier.ts';
import { helloOf, Wire } from '../../fixtures/sandbox/wire.ts';

export const LIMITS = { memoryMb: 64, cpuMs: 1000, wallMs: 2000, outputBytes: 1000, logBytes: 1000, hostCalls: 10 };
export const RUN: Extract<Decision, { kind: 'run' }> = {
  kind: 'run',
  tier: 'isolate',
  limits: LIMITS,
  jail: 'required',
  grants: { net: [], secrets: [], wasm: false },
  container: DEFAULT_CONTAINER,
  concurrent: 4,
  freshness: 'isolate',
  rule: 'rule 1',
  policyHash: 'sha256:p',
};

export interface TierCall {
  readonly request: TierRequest;
  readonly events: TierEvents;
  readonly cancel: Mock<TierRun['cancel']>;
  readonly pause: Mock<TierRun['pause']>;
  end(outcome: TierOutcome): void;
}

export function makeHost(options: { decision?: Decision; leaseMs?: number; secrets?: SecretSource } = {}) {
  const calls: TierCall[] = [];
  const asked: PolicyRequest[] = [];
  const tier: Tier = {
    run: (request, events) => {
      const ended = Promise.withResolvers<TierEnd>();
      const call: TierCall = {
        request,
        events,
        cancel: vi.fn<TierRun['cancel']>(),
        pause: vi.fn<TierRun['pause']>(),
        end: (outcome) =>
          ended.resolve({
            outcome,
            figures: {
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
              sources: { cpuMs: 'worker', peakMemoryBytes: 'worker' },
              droppedLogLines: 4,
            },
          }),
      };
      calls.push(call);
      return { ended: ended.promise, cancel: call.cancel, pause: call.pause, resume: vi.fn() };
    },
    close: async () => {},
  };
  const policy = {
    policyHash: 'sha256:p',
    identify: () => ({ publisher: undefined, problem: undefined }),
    decide: (request: PolicyRequest) => {
      asked.push(request);
      return options.decision ?? RUN;
    },
  };
  const log = pino({ level: 'silent' });
  const bundles = new BundleStore();
  const attempts = new AttemptTable({
    tiers: { isolate: tier, container: tier },
    bundles,
    policy: { current: () => policy, onChange: () => () => {}, close: async () => {} },
    memory: NO_MEMORY,
    hostCalls: { secrets: options.secrets ?? noSecrets() },
    log,
  });
  const host = new Host({ instance: 'host-1', attempts, bundles, leaseMs: options.leaseMs ?? 15_000, log });
  const connect = async ({ role = 'engine', ...hello }: { role?: string; capabilities?: string[] } = {}) => {
    const wire = new Wire();
    const ended = host.serve(wire.far);
    wire.send(helloOf(role, hello));
    await wire.next('hello');
    return { wire, ended };
  };
  return { calls, asked, attempts, host, connect };
}

export const BUNDLE = Buffer.from('//! flowops-plugin {"name":"acme.x","version":"1.2.0"}\nexport default 1;\n');
export const DIGEST = digestOf(BUNDLE);
let tokens = 0;

export function invokeOf(changes: Record<string, unknown> = {}) {
  const token = Buffer.alloc(16);
  token.writeUInt32BE(++tokens);
  const value = {
    token,
    flowId: 'f',
    runId: 'r',
    stepId: 's',
    attempt: 1,
    epoch: 3n,
    pluginId: 'acme.x',
    digest: DIGEST,
  };
  return { case: 'invoke', value: { ...value, inputsJson: Buffer.from('{}'), ...changes } } as const;
}

export function putOf(bytes: Uint8Array, changes: Record<string, unknown> = {}) {
  const value = { digest: DIGEST, totalBytes: BigInt(bytes.length), offset: 0n, data: bytes };
  return { case: 'putBundle', value: { ...value, ...changes } } as const;
}

/** Everything sent before has been handled when this resolves. */
export async function settle(wire: Wire, id: number): Promise<void> {
  wire.send({ case: 'ping', value: { id } });
  await wire.next('pong', wire.all('pong').length);
}
