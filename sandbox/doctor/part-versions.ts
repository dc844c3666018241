/** The versions of what stands between a plugin and this machine, as Docker and the system tell them. Never throws. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { promisify } from 'node:util';
import type { DockerFacts } from './docker-view.ts';
import type { Versions } from './known-holes.ts';

const run = promisify(execFile);
/** `--version` prints and ends. */
const TIMEOUT_MS = 5_000;
/** Where they are when nobody says where; Docker does not tell the version of a runtime that it was given by name. */
const RUNSC_PLACES = ['/usr/bin/runsc', '/usr/local/bin/runsc', '/usr/sbin/runsc'];

/** @param docker undefined where there is none; then only the kernel is known. */
export async function partVersions(docker: DockerFacts | undefined): Promise<Versions> {
  const kernel = docker?.kernel || (process.platform === 'linux' ? release() : undefined);
  if (docker === undefined) return kernel === undefined ? {} : { kernel };
  const { runc, containerd } = docker.components;
  const runsc = docker.runtimes.includes('runsc') ? await runscVersion() : undefined;
  return {
    docker: docker.version,
    ...(kernel === undefined ? {} : { kernel }),
    ...(runc === undefined ? {} : { runc }),
    ...(containerd === undefined ? {} : { containerd }),
    ...(runsc === undefined ? {} : { runsc }),
  };
}

/** "runsc version release-20250106.0" or "runsc version 0.0~20221219.0" → what follows "version". */
async function runscVersion(): Promise<string | undefined> {
  const file = RUNSC_PLACES.find((place) => existsSync(place));
  if (file === undefined) return undefined;
  try {
    const { stdout } = await run(file, ['--version'], { env: {}, timeout: TIMEOUT_MS });
    return /^runsc version (\S+)/m.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}
