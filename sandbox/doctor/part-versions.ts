/** The versions of what stands between a plugin and this machine, as Docker and the system tell them. Never throws. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { release, version } from 'node:os';
import { promisify } from 'node:util';
import type { DockerFacts } from './docker-view.ts';
import { kernelText } from './kernel-version.ts';
import type { Versions } from './known-holes.ts';

const run = promisify(execFile);
/** `--version` prints and ends. */
const TIMEOUT_MS = 5_000;
/** Where they are when nobody says where; Docker does not tell the version of a runtime that it was given by name. */
const RUNSC_PLACES = ['/usr/bin/runsc', '/usr/local/bin/runsc', '/usr/sbin/runsc'];
/** Ubuntu's kernels tell there what they were made from. */
const SIGNATURE_FILE = '/proc/version_signature';

/** @param docker undefined where there is none; then only the kernel and node are known. */
export async function partVersions(docker: DockerFacts | undefined): Promise<Versions> {
  const own = { node: process.versions.node, ...ownKernel() };
  if (docker === undefined) return own;
  const { runc, containerd } = docker.components;
  const runsc = docker.runtimes.includes('runsc') ? await runscVersion() : undefined;
  return {
    ...own,
    docker: docker.version,
    ...containerKernel(docker.kernel),
    ...(runc === undefined ? {} : { runc }),
    ...(containerd === undefined ? {} : { containerd }),
    ...(runsc === undefined ? {} : { runsc }),
  };
}

function ownKernel(): Pick<Versions, 'kernel'> {
  if (process.platform !== 'linux') return {};
  return { kernel: kernelText({ release: release(), version: version(), signature: signature() }) };
}

/** Docker tells `uname -r` only; where it is that of this machine, it is the same kernel. */
function containerKernel(told: string): Pick<Versions, 'containerKernel'> {
  return told === '' || (process.platform === 'linux' && told === release()) ? {} : { containerKernel: told };
}

function signature(): string {
  try {
    return readFileSync(SIGNATURE_FILE, 'utf8');
  } catch {
    return '';
  }
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
