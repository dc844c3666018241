/**
 * Where cases are run: a folder of its own, canaries, and real sandbox hosts under policies made for the case. Whatever
 * was opened here is closed with it, and then nothing of it may be left.
 */
import { chmod, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { type HostProcess, startHostProcess } from '@flowops/proto/host-process.ts';
import type { Bench, BenchHost, OpenHostOptions } from './bench-contract.ts';
import { bundleOf } from './bundle.ts';
import { CANARY_SECRET, makeCanaries } from './canaries.ts';
import type { DockerView } from './docker-view.ts';
import { NEIGHBOUR } from './neighbour.ts';
import { descendantsOf, isAlive } from './process-tree.ts';

/** A granted secret and its value: what a plugin may read, and what must still be cut out of text by accident. */
export const GRANTED_SECRET = { name: 'GRANTED', value: 'granted-secret-value-0123456789' } as const;
/** What a killed process needs to be gone from /proc. */
const GONE_MS = 3_000;
const GONE_POLL_MS = 25;
/** Made for every later host too: the worker's code, and what Node compiled. */
const KEPT_FILES = /^(?:flowops-sandbox-\d+|node-compile-cache)$/;
/** Of a host's log, kept to look for canaries. */
const MAX_LOG_LENGTH = 4 * 1024 * 1024;
/** A policy file is looked at once a second and read when it stayed the same. */
const RELOAD_MS = 30_000;
const RELOAD_POLL_MS = 100;

export interface BenchOptions {
  /** For what is left of containers; undefined where there is no Docker. */
  readonly docker?: DockerView;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export async function openBench({ docker, env }: BenchOptions): Promise<Bench> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flowops-doctor-'));
  await chmod(folder, 0o711); // workers have other uids, and their root lies below
  const canaries = makeCanaries();
  const secrets = path.join(folder, 'secrets');
  const temporary = path.join(folder, 'tmp');
  await mkdir(secrets, { mode: 0o700 });
  await mkdir(temporary, { mode: 0o755 });
  await writeFile(path.join(secrets, CANARY_SECRET), canaries.ofSecrets, { mode: 0o600 });
  await writeFile(path.join(secrets, GRANTED_SECRET.name), GRANTED_SECRET.value, { mode: 0o600 });
  const hostEnv = {
    ...passedOn(env),
    KAFKA_SASL_PASSWORD: canaries.ofEngine,
    LC_ALL: canaries.ofHost,
    SECRETS_DIR: secrets,
    FLOWOPS_HOME: path.join(folder, 'home'),
    TMPDIR: temporary,
    LOG_LEVEL: 'debug',
    // None waits for a next step, so that each one that is seen afterwards was left behind.
    SANDBOX_CONTAINERS_AHEAD: '0',
  };
  const open = new Set<BenchHost>();
  let policies = 0;

  const openHost = async ({ policy, entry, dockerHost }: OpenHostOptions): Promise<BenchHost> => {
    const file = path.join(folder, `policy-${policies++}.yaml`);
    await writeFile(file, policy);
    let log = '';
    const started = await startHostProcess({
      role: 'engine',
      instance: 'doctor',
      env: dockerHost === undefined ? hostEnv : { ...hostEnv, DOCKER_HOST: dockerHost },
      policy: { kind: 'file', file },
      onLog: (text) => {
        if (log.length < MAX_LOG_LENGTH) log += text;
      },
      ...(entry === undefined ? {} : { entry }),
    });
    if (!started.ok) throw new FlowopsError(started.code, started.message);
    const { host } = started;
    let closing: Promise<readonly string[]> | undefined;
    const benchHost: BenchHost = {
      process: host,
      log: () => log,
      reload: async (text) => {
        const from = log.length;
        await writeFile(`${file}.new`, text);
        await rename(`${file}.new`, file);
        const deadline = performance.now() + RELOAD_MS;
        while (!/ was (?:not )?reloaded/.test(log.slice(from))) {
          if (performance.now() > deadline) throw new Error('the host did not read its policy anew');
          await new Promise((resolve) => setTimeout(resolve, RELOAD_POLL_MS));
        }
      },
      close: () => {
        closing ??= closeHost(host, docker).finally(() => open.delete(benchHost));
        return closing;
      },
    };
    open.add(benchHost);
    return benchHost;
  };

  let closing: Promise<readonly string[]> | undefined;
  return {
    canaries,
    folder,
    hostEnv: { ...hostEnv, KAFKA_SASL_PASSWORD: undefined },
    docker,
    neighbour: bundleOf(NEIGHBOUR.name, NEIGHBOUR.attempt),
    openHost,
    close: () => {
      closing ??= (async () => {
        const left = (await Promise.all([...open].map((host) => host.close()))).flat();
        const files = (await readdir(temporary)).filter((name) => !KEPT_FILES.test(name));
        if (files.length > 0) left.push(`files of the host in its temporary folder: ${files.slice(0, 5).join(', ')}`);
        await rm(folder, { recursive: true, force: true });
        return left;
      })();
      return closing;
    },
  };
}

/** Of our own environment only what says where things are. */
function passedOn(env: BenchOptions['env']): Record<string, string | undefined> {
  const { PATH, HOME, DOCKER_HOST, SANDBOX_IMAGE, SystemRoot } = env;
  return { PATH, HOME, DOCKER_HOST, SANDBOX_IMAGE, SystemRoot };
}

async function closeHost(host: HostProcess, docker: DockerView | undefined): Promise<readonly string[]> {
  const pids = [host.pid, ...descendantsOf(host.pid)];
  await host.close();
  const left: string[] = [];
  const alive = await waitUntilGone(pids);
  if (alive.length > 0) left.push(`${alive.length} processes outlived their host`);
  const containers = (await docker?.containersOf(host.instance)) ?? [];
  if (containers.length > 0) left.push(`${containers.length} containers outlived their host`);
  return left;
}

async function waitUntilGone(pids: readonly number[]): Promise<readonly number[]> {
  const deadline = performance.now() + GONE_MS;
  for (;;) {
    const alive = pids.filter(isAlive);
    if (alive.length === 0 || performance.now() > deadline) return alive;
    await new Promise((resolve) => setTimeout(resolve, GONE_POLL_MS));
  }
}
