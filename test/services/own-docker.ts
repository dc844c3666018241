/**
 * A Docker daemon of one test file's own, to be killed and started again: the one that tests share must live. Root on
 * Linux; it gets the image of step containers from the shared one. What its containers leave is taken away with it.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { docker } from '../../bin/image/docker-cli.ts';
import { runCommand } from './child.ts';
import type { DockerService } from './docker.ts';
import { type Dockerd, execRoot, startDockerd } from './dockerd.ts';
import { removeFolder, scratchFolder } from './scratch.ts';

const COPY_TIMEOUT_MS = 180_000;

export class OwnDocker {
  readonly image: string;
  readonly host: string;
  readonly #folder: string;
  #dockerd: Dockerd;

  private constructor(folder: string, image: string, dockerd: Dockerd) {
    this.#folder = folder;
    this.image = image;
    this.host = dockerd.host;
    this.#dockerd = dockerd;
  }

  static async start(shared: DockerService): Promise<OwnDocker> {
    const folder = scratchFolder();
    const own = new OwnDocker(folder, shared.image, await startDockerd(folder));
    const copy = `docker -H "$1" save "$3" | docker -H "$2" load`;
    await runCommand(['/bin/sh', '-c', copy, 'sh', shared.host, own.host, shared.image], {
      timeoutMs: COPY_TIMEOUT_MS,
    });
    return own;
  }

  /** SIGKILL: it tells nobody, and its containers' shims live on. */
  kill(): Promise<void> {
    return this.#dockerd.child.kill9();
  }

  /** @param options for daemon.json */
  async startAgain(options: Readonly<Record<string, unknown>> = {}): Promise<void> {
    // It died with the daemon. Where its parent is slow to reap it, a new daemon takes its number for a living one's.
    rmSync(join(execRoot(this.#folder), 'containerd', 'containerd.pid'), { force: true });
    this.#dockerd = await startDockerd(this.#folder, options);
  }

  /** Removes what is left on it, then ends it. */
  async stop(): Promise<void> {
    if (this.#dockerd.child.ended.aborted) await this.startAgain();
    const cli = { host: this.host, say: () => {} };
    const listed = await docker(cli, ['ps', '-aq']);
    const ids = listed.ok ? listed.stdout.split('\n').filter(Boolean) : [];
    if (ids.length > 0) await docker(cli, ['rm', '-f', ...ids]);
    await this.#dockerd.child.stop();
    // A daemon that was killed left its data folder mounted on itself.
    await runCommand(['umount', '--recursive', join(this.#folder, 'data')]).catch(() => undefined);
    removeFolder(this.#folder);
    rmSync(execRoot(this.#folder), { recursive: true, force: true });
  }
}
