/**
 * The sandbox hosts of SANDBOX_URL: all that can be reached are used, the least loaded first. One that vanishes keeps its
 * attempts until its lease is over; when it comes back before, under the name it had, they go on.
 */
import type { SandboxHost } from '@flowops/proto/attempt.ts';
import { readSandboxAddress, type TlsIdentity } from '@flowops/proto/sandbox-address.ts';
import type { ConnectedHost } from '@flowops/proto/sandbox-client.ts';
import type { Log } from '../log.ts';
import type { EngineSandboxes, HostHealth, OpenedHost } from './engine-sandboxes.ts';
import { FormerHosts } from './former-hosts.ts';
import { HostLink } from './host-link.ts';
import type { Whereabouts } from './sandboxes.ts';
import { SharedHost } from './shared-host.ts';

export interface RemoteSandboxesOptions {
  /** Of SANDBOX_URL. */
  readonly addresses: readonly string[];
  readonly identity: TlsIdentity | undefined;
  /** This engine, for the hosts' logs. */
  readonly instance: string;
  readonly home: string;
  readonly leaseMs: number;
  readonly vouches: () => boolean;
  readonly log: Log;
}

export class RemoteSandboxes implements EngineSandboxes {
  readonly #options: RemoteSandboxesOptions;
  readonly #links: readonly HostLink[];
  readonly #hosts = new Map<string, SharedHost>();
  readonly #former: FormerHosts;
  readonly #listeners: (() => void)[] = [];

  constructor(options: RemoteSandboxesOptions) {
    this.#options = options;
    this.#former = new FormerHosts({ home: options.home, onEnded: (instance) => this.#noteEnded(instance) });
    const { identity, instance, vouches, log } = options;
    this.#links = options.addresses.map(
      (text) =>
        new HostLink({
          ...{ address: readSandboxAddress(text), identity, instance, vouches, log },
          onOpen: (connection) => this.#opened(connection),
          onClosed: () => this.#tell(),
        }),
    );
  }

  pick(): SandboxHost | undefined {
    const best = this.#leastLoaded();
    best?.promise();
    return best;
  }

  locate(instance: string): Whereabouts {
    const host = this.#hosts.get(instance);
    return host?.isConnected === true ? { state: 'connected', host } : this.#former.locate(instance);
  }

  capacity(): number {
    let attempts = 0;
    let hasRoom = false;
    for (const host of this.#hosts.values()) {
      if (!host.isConnected || host.isDraining) continue;
      attempts += host.maxAttempts;
      hasRoom ||= host.hasRoom;
    }
    return hasRoom ? attempts : 0;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  opened(): OpenedHost {
    const host = this.#leastLoaded();
    if (host !== undefined) return { ok: true, host };
    const problems = this.#links.map(({ address, problem }) => `${address}: ${problem}`);
    const message = `no sandbox host of SANDBOX_URL can be used; ${problems.join('; ')}`;
    return { ok: false, code: 'SANDBOX_UNAVAILABLE', message };
  }

  health(): readonly HostHealth[] {
    return this.#links.map(({ address, connection, problem }) => {
      const host = connection === undefined ? undefined : this.#hosts.get(connection.instance);
      if (host === undefined) return { address, state: 'unreachable', problem };
      const state = host.isDraining ? 'draining' : 'connected';
      return { address, state, instance: host.instance, attempts: host.size };
    });
  }

  async close(): Promise<void> {
    this.#former.close();
    await Promise.all([...this.#hosts.values()].map((host) => host.close()));
    await Promise.all(this.#links.map((link) => link.close()));
  }

  /** Resolves when the first host is connected, or after `waitMs`. */
  async firstHost(waitMs: number): Promise<void> {
    if (this.#leastLoaded() !== undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.onChange(() => {
        if (this.#leastLoaded() === undefined) return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #leastLoaded(): SharedHost | undefined {
    let best: SharedHost | undefined;
    for (const host of this.#hosts.values()) {
      if (host.hasRoom && (best === undefined || host.pressure < best.pressure)) best = host;
    }
    return best;
  }

  #opened(connection: ConnectedHost): boolean {
    const { instance } = connection;
    const known = this.#hosts.get(instance);
    if (known?.isConnected === true) return false;
    if (known === undefined) {
      const { leaseMs } = this.#options;
      const onForgettable = () => this.#hosts.delete(instance);
      this.#hosts.set(instance, new SharedHost({ connection, leaseMs, onForgettable }));
    } else known.connect(connection);
    connection.presence.onDraining(() => this.#tell());
    for (const ended of connection.endedInstances) this.#noteEnded(ended);
    this.#tell();
    return true;
  }

  #noteEnded(instance: string): void {
    const host = this.#hosts.get(instance);
    // Whoever says so of one that lives has the copy of a home.
    if (host?.isConnected === true) return;
    this.#former.noteEnded(instance);
    host?.ended();
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
