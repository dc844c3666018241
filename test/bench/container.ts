/**
 * The container tier in figures (design 9), for each runtime: a step that finds a container ahead, one that does not, a
 * burst that drains the pool, and the sustained rate; beside them, in the same run on the same image, `docker run` and
 * raw create, start and remove. The tier is in this process: what a host adds is in the other rows.
 */

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { digestOf } from '@flowops/proto/ids.ts';
import { BundleStore, type StoredBundle } from '@flowops/sandbox/bundles/bundle-store.ts';
import type { DockerAnswer } from '@flowops/sandbox/container/docker-engine.ts';
import { dockerEngine } from '@flowops/sandbox/container/dockerode-engine.ts';
import { containerSpec, type SpecOptions } from '@flowops/sandbox/container/hardening.ts';
import { openContainerTier } from '@flowops/sandbox/container/open-container-tier.ts';
import { SECCOMP_PROFILE_JSON } from '@flowops/sandbox/container/seccomp-profile.ts';
import { DEFAULT_PIDS } from '@flowops/sandbox/policy/default-limits.ts';
import type { Tier, TierRequest } from '@flowops/sandbox/tier.ts';
import { pino } from 'pino';
import { type DockerService, startDocker } from '../services/docker.ts';
import { latencyRow, median, type Row, round } from './figures.ts';

type Runtime = 'runc' | 'runsc';
const run = promisify(execFile);
/** Between two steps: the pool has filled up again by then, and what is in it has come to rest. */
const REFILL_MS = 2_500;
const AHEAD = 2;
const BURST = 6;
const CONCURRENCIES = [1, 2, 4];
const ROUNDS = 2;
const LABEL = 'flowops.bench';

export interface ContainerBenchOptions {
  readonly say: (text: string) => void;
  /** How many for a median. */
  readonly count: number;
}

/** No rows, and a word about it, where there is no Docker. */
export async function containerRows({ say, count }: ContainerBenchOptions): Promise<Row[]> {
  let docker: DockerService;
  try {
    docker = await startDocker(say);
  } catch (thrown) {
    say(`  no figures of containers: ${String(thrown)}`);
    return [];
  }
  try {
    const rows: Row[] = [];
    for (const runtime of docker.runtimes) rows.push(...(await rowsOf(docker, runtime, count)));
    return rows;
  } finally {
    await docker.stop();
  }
}

async function rowsOf(docker: DockerService, runtime: Runtime, count: number): Promise<Row[]> {
  const plain = await dockerRun(docker, runtime, count);
  const warm = await withTier(docker, { ahead: AHEAD }, (tier) => oneByOne(tier, runtime, count));
  const cold = await withTier(docker, { ahead: 0 }, (tier) => oneByOne(tier, runtime, count, 0));
  const burst = await withTier(docker, { ahead: AHEAD }, (tier) => drained(tier, runtime, count));
  const { ours, raw, bare } = await rates(docker, runtime, count);
  const waitingMb = await memoryOfOne(docker, runtime);
  const share = round(median(warm) / median(plain));
  return [
    latencyRow(`\`docker run\` of the same image, ${runtime}`, plain),
    latencyRow(`a container step, ${runtime}, a container ahead`, warm, {
      target: '≤ 1/10 of docker run, aim 1/20',
      note: `${share}×`,
    }),
    latencyRow(`a container step, ${runtime}, cold`, cold),
    latencyRow(`each of ${BURST} steps at once, ${runtime}, ${AHEAD} ahead`, burst),
    {
      what: `container steps, sustained, ${runtime}`,
      value: `${round(ours)}/s, raw create+start+remove ${round(raw)}/s`,
      target: '≥ 0.8×, aim 0.95×',
      note: `${round(ours / raw)}×; ${round(ours / bare)}× of raw without Docker's network (${round(bare)}/s)`,
      figures: {
        perSecond: round(ours),
        rawPerSecond: round(raw),
        ratio: round(ours / raw),
        bareRawPerSecond: round(bare),
        bareRatio: round(ours / bare),
      },
    },
    {
      what: `memory of a container that waits, ${runtime}`,
      value: `${round(waitingMb)} MB`,
      note: 'its cgroup',
      figures: { megabytes: round(waitingMb) },
    },
  ];
}

/** Node started and ended, as a person would compare. */
async function dockerRun({ host, image }: DockerService, runtime: Runtime, count: number): Promise<number[]> {
  const args = ['run', '--rm', '--network', 'none', '--runtime', runtime, '--entrypoint', '/usr/local/bin/node', image];
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    const startedMs = performance.now();
    await run('docker', [...args, '-e', '0'], { env: { ...process.env, DOCKER_HOST: host } });
    times.push(performance.now() - startedMs);
  }
  return times;
}

async function withTier<T>(docker: DockerService, options: { ahead: number }, use: (tier: Tier) => Promise<T>) {
  const tier = openContainerTier({
    image: docker.image,
    maxContainers: 8,
    ahead: options.ahead,
    cores: 2,
    dockerHost: docker.host,
    instance: `bench-${randomBytes(4).toString('hex')}`,
    policy: { onChange: () => () => {} },
    log: pino({ level: 'silent' }),
  });
  try {
    return await use(tier);
  } finally {
    await tier.close();
  }
}

async function oneByOne(tier: Tier, runtime: Runtime, count: number, pauseMs = REFILL_MS): Promise<number[]> {
  await timed(tier, runtime);
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    await sleep(pauseMs);
    times.push(await timed(tier, runtime));
  }
  return times;
}

async function drained(tier: Tier, runtime: Runtime, count: number): Promise<number[]> {
  await timed(tier, runtime);
  const times: number[] = [];
  while (times.length < count) {
    await sleep(REFILL_MS);
    times.push(...(await Promise.all(Array.from({ length: BURST }, () => timed(tier, runtime)))));
  }
  return times;
}

/**
 * Per second: steps with always enough of them waiting; raw create, start and remove of a container with the same image,
 * runtime and options as `docker create` makes it (NetworkMode none), at the concurrency that is best for it; and
 * bare: raw with our way to an empty network too. In turns, so that a machine that is busy for a while hits all alike.
 */
async function rates(docker: DockerService, runtime: Runtime, count: number) {
  const spent = new Map<string, number>();
  const time = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    const startedMs = performance.now();
    await work();
    spent.set(what, (spent.get(what) ?? 0) + performance.now() - startedMs);
  };
  // None ahead: one that was made before would be a gift, one that is made for later a burden.
  await withTier(docker, { ahead: 0 }, async (tier) => {
    await timed(tier, runtime);
    for (let round = 0; round < ROUNDS; round++) {
      await time('ours', () => Promise.all(Array.from({ length: count }, () => timed(tier, runtime))));
      for (const lanes of CONCURRENCIES) {
        await time(`raw ${lanes}`, () => raw(docker, { runtime, count, lanes, isBare: false }));
        await time(`bare ${lanes}`, () => raw(docker, { runtime, count, lanes, isBare: true }));
      }
    }
  });
  const best = (what: string): number => {
    const times = [...spent].filter(([name]) => name.startsWith(what)).map(([, ms]) => ms);
    return (ROUNDS * count * 1_000) / Math.min(...times);
  };
  return { ours: best('ours'), raw: best('raw'), bare: best('bare') };
}

async function timed(tier: Tier, runtime: Runtime): Promise<number> {
  const startedMs = performance.now();
  const { outcome } = await tier.run(requestOf(runtime), {
    onStarted: () => {},
    onLog: () => {},
    onProgress: () => {},
    onHostCall: async () => ({ ok: false, code: 'POLICY_DENIED', message: 'nothing is granted' }),
  }).ended;
  if (outcome.status !== 'COMPLETED') throw new Error(`a step ended with ${JSON.stringify(outcome)}`);
  return performance.now() - startedMs;
}

async function raw(
  { host, image }: DockerService,
  { runtime, count, lanes, isBare }: { runtime: Runtime; count: number; lanes: number; isBare: boolean },
): Promise<void> {
  const engine = dockerEngine(host);
  const { id, env } = must(await engine.image(image));
  let left = count;
  const lane = async (): Promise<void> => {
    while (left-- > 0) {
      const { name, body } = containerSpec(specOf(runtime, id, env));
      const made = must(await engine.create({ name, body: { ...body, NetworkDisabled: isBare } }));
      must(await engine.start(made));
      must(await engine.remove(made));
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

async function memoryOfOne(docker: DockerService, runtime: Runtime): Promise<number> {
  const engine = dockerEngine(docker.host);
  const { id, env } = must(await engine.image(docker.image));
  const made = must(await engine.create(containerSpec(specOf(runtime, id, env))));
  try {
    const { stream } = must(await engine.attach(made));
    must(await engine.start(made));
    // Its Hello, and then the rest of its start: the thread that runs the plugin.
    await new Promise((resolve) => stream.once('data', resolve));
    await sleep(REFILL_MS);
    const { peakMemoryBytes = 0 } = must(await engine.use(made));
    stream.destroy();
    return peakMemoryBytes / 1024 / 1024;
  } finally {
    await engine.remove(made);
  }
}

function specOf(runtime: Runtime, imageId: string, imageEnv: readonly string[]): SpecOptions {
  const shape = { imageId, imageEnv, runtime, memoryMb: 128, pids: DEFAULT_PIDS[runtime], cpus: 1, tmpfsMb: 16 };
  return {
    name: `flowops-bench-${randomBytes(6).toString('hex')}`,
    shape: { ...shape, lifeSeconds: 60, policyHash: 'bench' },
    labels: { [LABEL]: 'raw' },
    seccompProfile: SECCOMP_PROFILE_JSON,
    hasAppArmor: false,
  };
}

function must<T>(answer: DockerAnswer<T>): T {
  if (!answer.ok) throw new Error(answer.failure.problem);
  return answer.value;
}

const BUNDLE = bundle();

function requestOf(runtime: Runtime): TierRequest {
  return {
    purpose: 'run',
    flowId: 'bench',
    runId: 'bench',
    stepId: 'step',
    attempt: 1,
    pluginId: 'bench.step',
    pluginVersion: '1.0.0',
    idempotencyKey: 'bench',
    inputsJson: Buffer.from('{}'),
    bundle: BUNDLE,
    limits: { memoryMb: 128, cpuMs: 10_000, wallMs: 30_000, outputBytes: 1024, logBytes: 1024, hostCalls: 1 },
    allowWasm: false,
    domain: 'bench',
    concurrent: 8,
    jail: 'required',
    freshness: 'isolate',
    container: { runtime, pids: DEFAULT_PIDS[runtime], cpus: 1, tmpfsMb: 16 },
    rule: 'bench',
    policyHash: 'bench',
  };
}

function bundle(): StoredBundle {
  const declared = { name: 'bench.step', version: '1.0.0', description: '', permissions: { net: [], secrets: [] } };
  const manifest = { ...declared, inputs: {}, outputs: { a: { type: 'json' } } };
  const task = { ...declared, api: 1, inputs: {}, outputs: { a: { type: 'json', field: 'a' } } };
  const code = `export default { [Symbol.for('flowops.task')]: ${JSON.stringify(task)}, run: async () => ({ a: 1 }) };`;
  const bytes = Buffer.from(`//! flowops-plugin ${JSON.stringify(manifest)}\n${code}\n`);
  const added = new BundleStore().add({ digest: digestOf(bytes), bytes });
  if (!added.ok) throw new Error(added.problem);
  return added.bundle;
}
