/**
 * The sandbox hosts that one engine uses: hosts of their own at fixed addresses that several engines share, or one that
 * the engine started and that ends with it.
 */

import type { Sandboxes, Whereabouts } from '@flowops/engine/sandbox-client/sandboxes.ts';
import type { SandboxHost } from '@flowops/proto/attempt.ts';
import type { SimProcess } from '../world/process.ts';
import { HostClient } from './host-client.ts';
import { Link, type Path } from './link.ts';
import type { CodeWitness } from './plugin-code.ts';
import { type HostFront, LEASE_MS, type SimulatedHost } from './simulated-host.ts';

/** A place where a host listens; which process that is changes when it is started anew. */
export interface HostAddress {
  readonly name: string;
  readonly isShared: boolean;
  current(): SimulatedHost | undefined;
}

export interface SimulatedSandboxesOptions {
  readonly process: SimProcess;
  readonly addresses: readonly { readonly address: HostAddress; readonly path: Path }[];
  readonly delayMs: () => number;
  readonly vouches: () => boolean;
  /** Of hosts whose FLOWOPS_HOME is this engine's: whether their processes have ended. */
  readonly hasEnded: (instance: string) => boolean;
  readonly witness: CodeWitness;
  /** Ends the host that this engine started. */
  readonly onClose: () => void;
}

const RECONNECT_MS = 300;
/** A host that is silent for this long is given up, and connected to anew. */
const SILENCE_MS = LEASE_MS / 2;

export class SimulatedSandboxes implements Sandboxes {
  readonly #options: SimulatedSandboxesOptions;
  readonly #clients = new Map<string, HostClient>();
  readonly #ended = new Set<string>();
  readonly #listeners: (() => void)[] = [];
  #isClosed = false;

  constructor(options: SimulatedSandboxesOptions) {
    this.#options = options;
    for (const { address, path } of options.addresses) this.#connect(address, path, undefined);
  }

  pick(): SandboxHost | undefined {
    let best: HostClient | undefined;
    for (const client of this.#clients.values()) {
      if (!client.isConnected || !client.hasRoom) continue;
      if (best === undefined || client.openCount < best.openCount) best = client;
    }
    return best;
  }

  locate(instance: string): Whereabouts {
    const host = this.#clients.get(instance);
    if (host?.isConnected === true) return { state: 'connected', host };
    const hasEnded = this.#ended.has(instance) || this.#options.hasEnded(instance);
    return { state: hasEnded ? 'ended' : 'unreachable' };
  }

  capacity(): number {
    let capacity = 0;
    let hasRoom = false;
    for (const client of this.#clients.values()) {
      if (!client.isConnected) continue;
      capacity += client.maxAttempts;
      hasRoom ||= client.hasRoom;
    }
    return hasRoom ? capacity : 0;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const client of this.#clients.values()) await client.close();
    this.#options.onClose();
  }

  #connect(address: HostAddress, path: Path, former: HostClient | undefined): void {
    const { process, delayMs } = this.#options;
    if (this.#isClosed || process.isDead) return;
    const again = () => process.after(RECONNECT_MS + delayMs(), () => this.#connect(address, path, former));
    const host = address.current();
    // Who is not there, or lies behind a cut network, does not answer.
    if (host === undefined || host.process.isDead || path.isCut) {
      again();
      return;
    }
    const link = new Link(path, [process, host.process], delayMs);
    let heardMs = process.world.nowMs;
    let client: HostClient | undefined;
    let front: HostFront | undefined;
    const over = (why: string) => {
      if (client?.isConnected === true) this.#disconnected(client, host, address, why);
      const next = client ?? former;
      process.after(RECONNECT_MS + delayMs(), () => this.#connect(address, path, next));
    };
    link.onClosed(0, over);
    const watch = () => {
      process.after(SILENCE_MS / 2, () => {
        if (link.isClosed(0)) return;
        if (process.world.nowMs - heardMs < SILENCE_MS) return watch();
        link.close(0, 'silent for too long');
        over('silent for too long');
      });
    };
    watch();
    const heard = () => {
      heardMs = process.world.nowMs;
    };
    link.send(0, () => {
      front = host.accept(link, {
        hello: ({ instance, maxAttempts, endedInstances }) => {
          heard();
          for (const ended of endedInstances) this.#hasEnded(ended);
          if (front === undefined) return;
          client =
            this.#clients.get(instance) ??
            new HostClient(process, {
              instance,
              maxAttempts,
              isShared: address.isShared,
              onRoom: () => this.#tell(),
              witness: this.#options.witness,
            });
          this.#clients.set(instance, client);
          client.connected(link, front);
          this.#tell();
        },
        started: (token, wallMs) => {
          heard();
          client?.callerEnd(this.#options.vouches).started(token, wallMs);
        },
        result: (token, outcome) => {
          heard();
          client?.callerEnd(this.#options.vouches).result(token, outcome);
        },
        attachReply: (token, state) => {
          heard();
          client?.callerEnd(this.#options.vouches).attachReply(token, state);
        },
        ping: (load, answer) => {
          heard();
          client?.callerEnd(this.#options.vouches).ping(load, answer);
        },
      });
    });
  }

  /** The connection ended. A host of our own takes its end of the connection with it only when its process ends. */
  #disconnected(client: HostClient, host: SimulatedHost, address: HostAddress, why: string): void {
    if (address.isShared) client.disconnected(why);
    else {
      // Whoever starts a process sees its end.
      client.disconnected(why);
      if (host.process.isDead) this.#hasEnded(host.instance);
    }
    this.#tell();
  }

  #hasEnded(instance: string): void {
    if (this.#ended.has(instance)) return;
    this.#ended.add(instance);
    this.#clients.get(instance)?.hostEnded();
    this.#clients.delete(instance);
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
