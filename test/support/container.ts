/**
 * A step container as a person at `docker run` would start it, for tests of the image, its init and its profile: the same
 * hardening as a step's, nothing of the sandbox host in between. The program's descriptors 3 and 4 are `send` and
 * `stdout`, its own prints are `stderr`.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SECCOMP_PROFILE_JSON } from '@flowops/sandbox/container/seccomp-profile.ts';
import { type DockerCli, docker } from '../../bin/image/docker-cli.ts';
import type { DockerService } from '../services/docker.ts';
import { scratchFolder } from '../services/scratch.ts';

export type Runtime = DockerService['runtimes'][number];

export interface ContainerOptions {
  readonly service: DockerService;
  readonly runtime: Runtime;
  readonly image?: string;
  /** Default 60. */
  readonly lifeSeconds?: number | string;
  readonly program: readonly string[];
}

export const NODE = '/usr/local/bin/node';
const LABEL = 'flowops.test';
const END_TIMEOUT_MS = 40_000;
let profileFile: string | undefined;

/** Runs a script by Node, with `import` and top-level await. */
export function script(code: string): readonly string[] {
  return [NODE, '--input-type=module', '--eval', code];
}

export class TestContainer {
  readonly name = `flowops-test-${randomUUID()}`;
  stdout = '';
  stderr = '';
  readonly #cli: DockerCli;
  readonly #client: ChildProcessWithoutNullStreams;
  readonly #closed: Promise<void>;
  #isClosed = false;
  readonly #watchers = new Set<() => void>();

  constructor({ service, runtime, image, lifeSeconds = 60, program }: ContainerOptions) {
    this.#cli = { host: service.host, say: () => {} };
    const args = ['run', '-i', '--name', this.name, '--label', `${LABEL}=${this.name}`, ...hardening(runtime)];
    const command = [image ?? service.image, String(lifeSeconds), ...program];
    this.#client = spawn('docker', [...args, ...command], { env: { ...process.env, DOCKER_HOST: service.host } });
    this.#client.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.#look();
    });
    this.#client.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
      this.#look();
    });
    this.#closed = once(this.#client, 'close').then(() => {
      this.#isClosed = true;
      this.#look();
    });
    // The container ended before it read everything.
    this.#client.stdin.on('error', () => {});
  }

  /** What the host sends. */
  send(text: string): void {
    this.#client.stdin.write(text);
  }

  /** Resolves when what it printed holds `text`; fails when it ends without. */
  async shows(text: string): Promise<void> {
    const isShown = () => this.stdout.includes(text) || this.stderr.includes(text);
    if (isShown()) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const watcher = () => {
      if (isShown()) resolve();
      else if (this.#isClosed) reject(new Error(`ended without "${text}":\n${this.stdout}\n${this.stderr}`));
    };
    this.#watchers.add(watcher);
    watcher();
    await promise
      .catch(async (ended: Error) => {
        throw new Error(`${ended.message}\nits end: ${await this.#state()}`);
      })
      .finally(() => this.#watchers.delete(watcher));
  }

  /** Whether it ran out of memory, which no exit code tells. */
  async #state(): Promise<string> {
    const state = await docker(this.#cli, ['inspect', '--format', '{{json .State}}', this.name]);
    return state.ok ? state.stdout : state.problem;
  }

  /** The host's connection dies as by a crash: nobody closes anything in order. */
  async killHost(): Promise<void> {
    this.#client.kill('SIGKILL');
    await this.#closed;
  }

  /** The container's exit code, once it does not run any more. */
  async ended(): Promise<number> {
    // Before the client has made and started it, there is nothing to wait for; after, it waits itself.
    if (!this.#client.killed) await this.#closed;
    const waited = await docker(this.#cli, ['wait', this.name], { timeoutMs: END_TIMEOUT_MS });
    if (!waited.ok) throw new Error(`the container did not end: ${waited.problem}\n${this.stderr}`);
    return Number(waited.stdout);
  }

  async isRunning(): Promise<boolean> {
    const state = await docker(this.#cli, ['inspect', '--format', '{{.State.Running}}', this.name]);
    return state.ok && state.stdout === 'true';
  }

  async remove(): Promise<void> {
    await docker(this.#cli, ['rm', '-f', this.name]);
    this.#client.kill('SIGKILL');
  }

  #look(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

function hardening(runtime: Runtime): readonly string[] {
  return [
    ...['--runtime', runtime, '--entrypoint', runtime === 'runc' ? '/init' : '/init-readable'],
    ...['--network', 'none', '--ipc', 'none', '--read-only', '--cap-drop', 'ALL'],
    // A thread of gVisor's own in each of the guest's processes for each of its own that ever was there: many children on a
    // busy machine were more than 256, and gVisor ends when it is refused one.
    ...['--pids-limit', runtime === 'runc' ? '256' : '4096'],
    ...['--security-opt', 'no-new-privileges:true', '--memory', '256m', '--memory-swap', '256m'],
    ...['--tmpfs', '/tmp:rw,noexec,nosuid,nodev,size=16m,uid=65532,gid=65532'],
    ...(runtime === 'runc' ? ['--security-opt', `seccomp=${profile()}`] : []),
  ];
}

/** The command line takes a file; the API, and so the sandbox host, takes the text. */
function profile(): string {
  if (profileFile === undefined) {
    profileFile = join(scratchFolder(), 'seccomp.json');
    writeFileSync(profileFile, SECCOMP_PROFILE_JSON);
  }
  return profileFile;
}
