/**
 * Builds the images of this clone with `docker build`. The step runner's carries labels: `flowops.runner`, the hash of
 * the runner's bundle (sandbox/container/runner-assets.ts), `flowops.content`, a key of everything that is in it, and
 * `flowops.version`; so does that of worker containers, with `flowops.worker`. The same sources give the same key, so
 * that an image that is there is not built again.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildRunner, runnerHash } from '@flowops/sandbox/container/runner-assets.ts';
import { buildWorker, workerHash } from '@flowops/sandbox/isolate/assets.ts';
import { z } from 'zod';
import { ROOT } from '../node24.mjs';
import { type DockerCli, docker } from './docker-cli.ts';

const BUILD_TIMEOUT_MS = 600_000;
/** What is in either image beside its own program. */
const SOURCES = ['Dockerfile.sandbox', 'sandbox/container/init/flowops-init.c'];
const KEY_CHARS = 16;

export interface StepSources {
  readonly runnerHash: string;
  readonly contentKey: string;
  readonly version: string;
}

export type BuildAnswer = { readonly ok: true } | { readonly ok: false; readonly problem: string };

export interface WorkerSources {
  readonly workerHash: string;
  readonly contentKey: string;
  readonly version: string;
}

export async function readStepSources(): Promise<StepSources> {
  const runner = runnerHash(await buildRunner());
  return { runnerHash: runner, ...readSources(runner, SOURCES) };
}

export async function readWorkerSources(): Promise<WorkerSources> {
  const worker = workerHash(await buildWorker());
  // isolated-vm is what the lock file says.
  return { workerHash: worker, ...readSources(worker, [...SOURCES, 'package-lock.json']) };
}

function readSources(programHash: string, files: readonly string[]): { contentKey: string; version: string } {
  const hash = createHash('sha256').update(programHash);
  for (const file of files) hash.update(readFileSync(join(ROOT, file)));
  const { version } = z
    .looseObject({ version: z.string() })
    .parse(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')));
  return { contentKey: hash.digest('hex').slice(0, KEY_CHARS), version };
}

/** The sandbox host refuses nothing by these labels; they tell a person, and it, what is in the image. */
export function buildStepImage(cli: DockerCli, sources: StepSources, tag: string): Promise<BuildAnswer> {
  const args = { RUNNER_HASH: sources.runnerHash, CONTENT_KEY: sources.contentKey, VERSION: sources.version };
  return build(cli, { file: 'Dockerfile.sandbox', target: 'step-runner', tag, args });
}

export function buildWorkerImage(cli: DockerCli, sources: WorkerSources, tag: string): Promise<BuildAnswer> {
  const args = { WORKER_HASH: sources.workerHash, CONTENT_KEY: sources.contentKey, VERSION: sources.version };
  return build(cli, { file: 'Dockerfile.sandbox', target: 'isolate-worker', tag, args });
}

export function buildEngineImage(cli: DockerCli, tag: string): Promise<BuildAnswer> {
  return build(cli, { file: 'Dockerfile.engine', tag, args: {} });
}

export function buildHostImage(cli: DockerCli, tag: string): Promise<BuildAnswer> {
  return build(cli, { file: 'Dockerfile.sandbox', target: 'sandbox-host', tag, args: {} });
}

interface BuildRequest {
  readonly file: string;
  readonly target?: string;
  readonly tag: string;
  readonly args: Readonly<Record<string, string>>;
}

async function build(cli: DockerCli, { file, target, tag, args }: BuildRequest): Promise<BuildAnswer> {
  const options = [
    // The build installs packages; the machine's own network works also where Docker has no bridge.
    ...['--network', 'host', '--file', join(ROOT, file), '--tag', tag],
    ...(target === undefined ? [] : ['--target', target]),
    ...Object.entries(args).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]),
  ];
  const built = await docker(cli, ['build', ...options, ROOT], {
    timeoutMs: BUILD_TIMEOUT_MS,
    what: `building ${tag}`,
  });
  return built.ok ? built : { ok: false, problem: `docker build of ${file} failed:\n${built.problem}` };
}
