/** The container tier in the test's own process, on a real daemon: what it is given, what it leaves behind. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf } from '@flowops/proto/ids.ts';
import { manifestSchema } from '@flowops/proto/manifest.ts';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import { BundleStore, type StoredBundle } from '@flowops/sandbox/bundles/bundle-store.ts';
import type { ListedContainer } from '@flowops/sandbox/container/docker-engine.ts';
import { dockerEngine } from '@flowops/sandbox/container/dockerode-engine.ts';
import { APP_FILTER } from '@flowops/sandbox/container/labels.ts';
import { type OpenContainerTierOptions, openContainerTier } from '@flowops/sandbox/container/open-container-tier.ts';
import { moduleOf, wholeBundle } from '@flowops/sandbox/doctor/bundle-text.ts';
import type { ContainerTerms } from '@flowops/sandbox/policy/decision.ts';
import type { HostCallAnswer, Tier, TierEnd, TierEvents, TierRequest, TierRun } from '@flowops/sandbox/tier.ts';
import { pino } from 'pino';

export type Runtime = 'runc' | 'runsc';
export const RUNTIMES: readonly Runtime[] = ['runc', 'runsc'];

const LIMITS: EffectiveLimits = {
  memoryMb: 128,
  cpuMs: 5_000,
  wallMs: 20_000,
  outputBytes: 1_000_000,
  logBytes: 65_536,
  hostCalls: 10,
};
const POLL_MS = 50;

export interface StepRequest {
  readonly limits?: Partial<EffectiveLimits>;
  readonly terms?: Partial<ContainerTerms>;
  /** Node's own modules in it. */
  readonly isNode?: boolean;
  /** Module text before the task. */
  readonly prologue?: string;
  /** A whole one, in place of a body. */
  readonly bundle?: Uint8Array;
  readonly onHostCall?: () => Promise<HostCallAnswer>;
}

export interface StartedStep {
  readonly run: TierRun;
  readonly started: Promise<void>;
  readonly restarts: () => number;
  readonly logs: readonly string[];
}

export interface TierUnderTest {
  readonly tier: Tier;
  readonly instance: string;
  /** `body` of a plugin's run function; its output is `o`. */
  start(body: string, request?: StepRequest): StartedStep;
  containers(): Promise<readonly ListedContainer[]>;
}

export interface TierOptions extends Partial<Pick<OpenContainerTierOptions, 'image' | 'ahead' | 'viewOf' | 'log'>> {
  readonly max?: number;
}

export interface DockerUnderTest {
  readonly host: string;
  readonly image: string;
}

/** @param docker whose daemon is spoken to, and looked into for what is left. */
export function openTierOn(docker: DockerUnderTest, runtime: Runtime, options: TierOptions = {}): TierUnderTest {
  const instance = `host-${randomBytes(4).toString('hex')}`;
  const { max = 4, ...others } = options;
  const tier = openContainerTier({
    image: docker.image,
    maxContainers: max,
    ahead: 0,
    cores: 2,
    dockerHost: docker.host,
    instance,
    policy: { onChange: () => () => {} },
    log: pino({ level: 'silent' }),
    ...others,
  });
  return {
    tier,
    instance,
    start: (body, request = {}) => start(tier, requestOf(body, runtime, request), request),
    containers: () => containersOf(docker, instance),
  };
}

function start(tier: Tier, request: TierRequest, { onHostCall }: StepRequest): StartedStep {
  const started = Promise.withResolvers<void>();
  const logs: string[] = [];
  let restarts = 0;
  const events: TierEvents = {
    onStarted: () => started.resolve(),
    onRestarted: () => restarts++,
    onLog: ({ message }) => logs.push(message),
    onProgress: () => {},
    onHostCall: onHostCall ?? (async () => ({ ok: false, code: 'POLICY_DENIED', message: 'nothing is granted' })),
  };
  return { run: tier.run(request, events), started: started.promise, restarts: () => restarts, logs };
}

/** A plugin whose first line asks for Node where the step does. */
export function storedBundle(body: string, request: StepRequest = {}): StoredBundle {
  const bytes = request.bundle ?? handMadeBundle(body, request);
  const added = new BundleStore().add({ digest: digestOf(bytes), bytes });
  if (!added.ok) throw new Error(added.problem);
  return added.bundle;
}

function handMadeBundle(body: string, { isNode, prologue }: StepRequest): Uint8Array {
  const manifest = manifestSchema.parse({
    name: 'test.real',
    version: '1.0.0',
    outputs: { o: { type: 'json' } },
    ...(isNode === true ? { runtime: 'node' } : {}),
  });
  return wholeBundle(manifest, moduleOf(body, manifest, prologue)).bytes;
}

function requestOf(body: string, runtime: Runtime, request: StepRequest): TierRequest {
  return {
    purpose: 'run',
    flowId: 'f',
    runId: 'r',
    stepId: 's',
    attempt: 1,
    pluginId: 'test.real',
    pluginVersion: '1.0.0',
    idempotencyKey: 'f/r/s',
    inputsJson: Buffer.from('{}'),
    bundle: storedBundle(body, request),
    limits: { ...LIMITS, ...request.limits },
    allowWasm: false,
    domain: 'plugin:test.real',
    concurrent: 4,
    jail: 'required',
    freshness: 'isolate',
    container: { runtime, pids: runtime === 'runc' ? 64 : 256, cpus: 1, tmpfsMb: 16, ...request.terms },
    rule: 'rule 1',
    policyHash: 'sha256:p',
  };
}

/** Running or not, of one host. */
export async function containersOf({ host }: { readonly host: string }, instance: string) {
  const listed = await dockerEngine(host).list(APP_FILTER);
  if (!listed.ok) throw new Error(listed.failure.problem);
  return listed.value.filter(({ labels }) => labels['flowops.instance'] === instance);
}

export async function untilNone(docker: { readonly host: string }, instance: string, timeoutMs = 20_000) {
  const deadlineMs = performance.now() + timeoutMs;
  while ((await containersOf(docker, instance)).length > 0) {
    if (performance.now() > deadlineMs) throw new Error('containers are left');
    await sleep(POLL_MS);
  }
}

export function codeOf({ outcome }: TierEnd): string {
  return outcome.status === 'FAILED' ? outcome.code : outcome.status;
}
