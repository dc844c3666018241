/**
 * One sandbox host of our own, as a child process: started, watched, and started again with backoff when it dies. A
 * host that is gone takes its attempts with it (outcome LOST); the runs then try again when the next is there. Nobody else
 * reaches it; but whoever sees this FLOWOPS_HOME can prove its end.
 */
import type { SandboxHost } from '@flowops/proto/attempt.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { type HostProcess, type HostProcessOptions, startHostProcess } from '@flowops/proto/host-process.ts';
import { pause } from '../base/pause.ts';
import type { Log } from '../log.ts';
import type { EngineSandboxes, HostHealth, OpenedHost } from './engine-sandboxes.ts';
import { FormerHosts } from './former-hosts.ts';
import type { Whereabouts } from './sandboxes.ts';

const FIRST_RESTART_MS = 100;
const MAX_RESTART_MS = 10_000;
/** A host that lived this long starts the backoff anew. */
const STABLE_MS = 30_000;
const ADDRESS = 'local';

export type LocalSandboxOptions = Omit<HostProcessOptions, 'signal'> & {
  /** FLOWOPS_HOME, absolute. */
  readonly home: string;
  readonly log: Log;
};

export class LocalSandboxes implements EngineSandboxes {
  readonly #options: LocalSandboxOptions;
  readonly #abort = new AbortController();
  readonly #listeners: (() => void)[] = [];
  readonly #former: FormerHosts;
  #host: HostProcess | undefined;
  #watching: Promise<void> = Promise.resolve();

  private constructor(options: LocalSandboxOptions) {
    this.#options = options;
    this.#former = new FormerHosts({ home: options.home, onEnded: () => this.#tell() });
  }

  /** @throws FlowopsError with the host's own reason when the first start fails: a wrong policy, no isolated-vm. */
  static async start(options: LocalSandboxOptions): Promise<LocalSandboxes> {
    const sandboxes = new LocalSandboxes(options);
    const started = await sandboxes.#startHost();
    if (!started.ok) throw new FlowopsError(started.code, started.message);
    sandboxes.#host = started.host;
    sandboxes.#watching = sandboxes.#watch(started.host);
    return sandboxes;
  }

  opened(): OpenedHost {
    if (this.#host !== undefined) return { ok: true, host: this.#host };
    return { ok: false, code: 'SANDBOX_UNAVAILABLE', message: 'the sandbox host is being started again; try again' };
  }

  pick(): SandboxHost | undefined {
    return this.#host;
  }

  locate(instance: string): Whereabouts {
    if (this.#host?.instance === instance) return { state: 'connected', host: this.#host };
    return this.#former.locate(instance);
  }

  capacity(): number {
    return this.#host?.maxAttempts ?? 0;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  health(): readonly HostHealth[] {
    if (this.#host !== undefined) return [{ address: ADDRESS, state: 'connected', instance: this.#host.instance }];
    return [{ address: ADDRESS, state: 'unreachable', problem: 'it is being started again' }];
  }

  async close(): Promise<void> {
    this.#abort.abort();
    this.#former.close();
    await this.#host?.close();
    await this.#watching;
  }

  #startHost() {
    const { home, env } = this.#options;
    return startHostProcess({ ...this.#options, env: { ...env, FLOWOPS_HOME: home }, signal: this.#abort.signal });
  }

  async #watch(first: HostProcess): Promise<void> {
    const { log } = this.#options;
    let failures = 0;
    for (let host: HostProcess | undefined = first; !this.#abort.signal.aborted; ) {
      if (host !== undefined) {
        const startedAt = performance.now();
        this.#change(host);
        const { reason } = await host.closed;
        // Nothing is given to it any more; the next is started when this one's process is gone.
        this.#change(undefined);
        await host.close();
        this.#former.noteEnded(host.instance);
        if (this.#abort.signal.aborted) return;
        log.error({ instance: host.instance, pid: host.pid }, `the sandbox host is gone (${reason}); starting another`);
        failures = performance.now() - startedAt > STABLE_MS ? 0 : failures + 1;
      }
      await pause(Math.min(MAX_RESTART_MS, FIRST_RESTART_MS * 2 ** Math.min(failures, 10)), this.#abort.signal);
      if (this.#abort.signal.aborted) return;
      const started = await this.#startHost();
      host = started.ok ? started.host : undefined;
      if (!started.ok) {
        failures++;
        log.error({ code: started.code }, `the sandbox host cannot be started: ${started.message}`);
      }
    }
  }

  #change(host: HostProcess | undefined): void {
    this.#host = host;
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
