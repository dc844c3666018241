/**
 * A Docker daemon for tests, with runc and where it can be had gVisor (runsc), and the image of step containers, built
 * from this clone's sources. Sources, in this order: DOCKER_HOST; the daemon that `docker` speaks to by itself, when it
 * has runsc; as root on Debian an own one (docker-keeper.ts), installed when it is missing; that default daemon as it is.
 *
 * The image has a name of its own for each content, so that two clones never take each other's. Test runs side by side
 * share the own daemon; it ends with the last of them, however that ends.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, openSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ensureBaseImage } from '../../bin/image/base-image.ts';
import {
  buildEngineImage,
  buildHostImage,
  buildStepImage,
  buildWorkerImage,
  readStepSources,
  readWorkerSources,
} from '../../bin/image/build-images.ts';
import { type DockerCli, docker } from '../../bin/image/docker-cli.ts';
import { withLock } from '../../bin/setup-lock.mjs';
import { hasProgram } from './child.ts';
import { keeperAnswerSchema, keeperSocket } from './docker-lease.ts';
import { needProgram } from './system-package.ts';

export interface DockerService {
  /** As DOCKER_HOST takes it. */
  readonly host: string;
  /** Those that the daemon has of the two that the policy knows. */
  readonly runtimes: readonly ('runc' | 'runsc')[];
  /** The name of the image of step containers made of these sources. */
  readonly image: string;
  /** What a process of ours needs to find both. */
  readonly env: { readonly DOCKER_HOST: string; readonly SANDBOX_IMAGE: string };
  /** Gives the daemon back; one that we started ends when nobody uses it any more. Idempotent. */
  stop(): Promise<void>;
}

const KEPT_IMAGES = 8;
/** Layers of a build are what makes the next one take seconds; a week of them is a few gigabytes at most. */
const KEPT_LAYERS_HOURS = 7 * 24;
const CONNECT_TIMEOUT_MS = 60_000;
const CONNECT_POLL_MS = 50;
const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'flowops');
const KEEPER = join(import.meta.dirname, 'docker-keeper.ts');
const WAITING = 'waiting for another test run that builds the image';
const STEP_REPOSITORY = 'flowops/step-runner';
const WORKER_REPOSITORY = 'flowops/isolate-worker';
/** Made by docker-probe.ts of the former. */
const PROBE_REPOSITORY = 'flowops/step-probe';

const runtimesSchema = z.record(z.string(), z.unknown());

/** @param say takes lines about what takes long: installing, making the base image, building. */
export async function startDocker(
  say: (line: string) => void = (line) => process.stderr.write(`docker: ${line}\n`),
): Promise<DockerService> {
  const { host, isOwn, release } = await findDaemon(say);
  try {
    const cli: DockerCli = { host, say };
    const image = await withLock(
      join(folder(), 'images.lock'),
      () => say(WAITING),
      () => stepImage(cli, isOwn),
    );
    const runtimes = await runtimesOf(host);
    return { host, runtimes, image, env: { DOCKER_HOST: host, SANDBOX_IMAGE: image }, stop: release };
  } catch (thrown) {
    await release();
    throw thrown;
  }
}

/** The image of the engine's service, built from this clone; the layers of its packages are kept. */
export async function engineImage({ host }: DockerService, tag: string): Promise<void> {
  const cli: DockerCli = { host, say: () => {} };
  const built = await withLock(join(folder(), 'images.lock'), cli.say, () => buildEngineImage(cli, tag));
  if (!built.ok) throw new Error(built.problem);
}

/** The same of a sandbox host of its own. */
export async function hostImage({ host }: DockerService, tag: string): Promise<void> {
  const cli: DockerCli = { host, say: () => {} };
  const built = await withLock(join(folder(), 'images.lock'), cli.say, () => buildHostImage(cli, tag));
  if (!built.ok) throw new Error(built.problem);
}

/** The name of the image of worker containers made of these sources. */
export async function workerImage({ host }: DockerService): Promise<string> {
  const cli: DockerCli = { host, say: () => {} };
  return withLock(join(folder(), 'images.lock'), cli.say, async () => {
    const sources = await readWorkerSources();
    const image = `${WORKER_REPOSITORY}:${sources.contentKey}`;
    if ((await docker(cli, ['image', 'inspect', image])).ok) return image;
    const built = await buildWorkerImage(cli, sources, image);
    if (!built.ok) throw new Error(built.problem);
    return image;
  });
}

interface Daemon {
  readonly host: string;
  readonly isOwn: boolean;
  release(): Promise<void>;
}

async function findDaemon(say: (line: string) => void): Promise<Daemon> {
  const borrowed = (host: string): Daemon => ({ host, isOwn: false, release: async () => {} });
  const given = process.env.DOCKER_HOST;
  if (given !== undefined && given !== '') return borrowed(given);
  const usual = await usualDaemon();
  if (usual !== undefined && (await runtimesOf(usual)).includes('runsc')) return borrowed(usual);
  if (process.getuid?.() === 0 && process.platform === 'linux' && (await hasProgram('apt-get'))) {
    return ownDaemon(say);
  }
  if (usual !== undefined) return borrowed(usual);
  throw new Error(
    'these tests need Docker, and none can be used here. Start it (Debian: sudo apt-get install docker.io runsc), or name one in DOCKER_HOST',
  );
}

/** What `docker` itself would speak to, when it answers. */
async function usualDaemon(): Promise<string | undefined> {
  if (!(await hasProgram('docker'))) return undefined;
  const cli: DockerCli = { host: undefined, say: () => {} };
  const context = await docker(cli, ['context', 'inspect', '--format', '{{.Endpoints.docker.Host}}']);
  if (!context.ok) return undefined;
  const version = await docker({ ...cli, host: context.stdout }, ['version', '--format', '{{.Server.Version}}']);
  return version.ok ? context.stdout : undefined;
}

async function runtimesOf(host: string): Promise<DockerService['runtimes']> {
  const info = await docker({ host, say: () => {} }, ['info', '--format', '{{json .Runtimes}}']);
  if (!info.ok) throw new Error(`Docker at ${host} does not answer: ${info.problem}`);
  const names = Object.keys(runtimesSchema.parse(JSON.parse(info.stdout)));
  return (['runc', 'runsc'] as const).filter((name) => names.includes(name));
}

/** Its own folder for images, kept from run to run. */
async function ownDaemon(say: (line: string) => void): Promise<Daemon> {
  for (const [program, name] of [
    ['dockerd', 'docker.io'],
    ['runsc', 'runsc'],
  ] as const) {
    if (!(await hasProgram(program))) say(`installing ${name}`);
    await needProgram(program, name);
  }
  const lease = await withLock(join(folder(), 'start.lock'), () => {}, takeLease);
  return {
    host: lease.host,
    isOwn: true,
    release: async () => {
      lease.socket.destroy();
    },
  };
}

interface Lease {
  readonly host: string;
  readonly socket: Socket;
}

/** Connects to the keeper, or starts one. A keeper that is just ending refuses, and a new one waits for its end. */
async function takeLease(): Promise<Lease> {
  const deadlineMs = Date.now() + CONNECT_TIMEOUT_MS;
  let isStarted = false;
  for (;;) {
    const lease = await tryLease();
    if (lease !== undefined) return lease;
    if (!isStarted) startKeeper();
    isStarted = true;
    if (Date.now() > deadlineMs) throw new Error(`dockerd did not start; see ${folder()}/*.log`);
    await sleep(CONNECT_POLL_MS);
  }
}

/** Undefined when nobody listens, or stopped listening before it answered. */
function tryLease(): Promise<Lease | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(keeperSocket(folder()));
    let text = '';
    const timer = setTimeout(() => socket.destroy(new Error('no answer')), CONNECT_TIMEOUT_MS);
    const end = () => {
      clearTimeout(timer);
      resolve(undefined);
    };
    socket.once('error', end);
    socket.once('close', end);
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (!text.endsWith('\n')) return;
      clearTimeout(timer);
      const answer = keeperAnswerSchema.parse(JSON.parse(text));
      if ('problem' in answer) {
        socket.destroy();
        reject(new Error(answer.problem));
        return;
      }
      // Held as long as this process lives, without keeping it alive.
      socket.unref();
      socket.on('error', () => {});
      resolve({ host: answer.host, socket });
    });
  });
}

/** In a session of its own: Ctrl-C is for the tests, and the end of their connections tells it. */
function startKeeper(): void {
  const log = openSync(join(folder(), 'keeper.log'), 'w');
  const keeper = spawn(process.execPath, [KEEPER, folder()], { detached: true, stdio: ['ignore', log, log] });
  keeper.unref();
}

function folder(): string {
  const path = join(CACHE, 'docker');
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return path;
}

async function stepImage(cli: DockerCli, isOwn: boolean): Promise<string> {
  const sources = await readStepSources();
  const image = `${STEP_REPOSITORY}:${sources.contentKey}`;
  if ((await docker(cli, ['image', 'inspect', image])).ok) return image;
  const base = await ensureBaseImage(cli, { mayMake: mayMakeBase });
  if (!base.ok) throw new Error(base.problem);
  cli.say('building the image of step containers');
  const built = await buildStepImage(cli, sources, image);
  if (!built.ok) throw new Error(built.problem);
  if (isOwn) await removeOldImages(cli);
  return image;
}

async function mayMakeBase(): Promise<boolean> {
  if (process.getuid?.() !== 0 || !(await hasProgram('apt-get'))) return false;
  await needProgram('debootstrap', 'debootstrap');
  return true;
}

/** Those of older sources; the newest come first. One that a container uses stays. What a build left unnamed goes later. */
async function removeOldImages(cli: DockerCli): Promise<void> {
  for (const repository of [STEP_REPOSITORY, WORKER_REPOSITORY, PROBE_REPOSITORY]) {
    const listed = await docker(cli, ['images', '--format', '{{.Repository}}:{{.Tag}}', repository]);
    if (!listed.ok) return;
    for (const name of listed.stdout.split('\n').slice(KEPT_IMAGES)) await docker(cli, ['rmi', name]);
  }
  await docker(cli, ['image', 'prune', '--force', '--filter', `until=${KEPT_LAYERS_HOURS}h`]);
}
