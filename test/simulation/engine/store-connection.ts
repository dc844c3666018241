/**
 * How one engine's connection to the store stands, as the engine's client keeps it: it is made again by itself, and when
 * the server that answers then is not the one of before, the store may have lost its last moments.
 */
import type { StoreHealth } from '../store/simulated-store.ts';
import type { SimProcess } from '../world/process.ts';
import { Unreachable, Wire, type WireOptions } from '../world/wire.ts';
import type { StoreServer } from './store-server.ts';

const RECONNECT_MS = 100;

export class StoreConnection implements StoreHealth {
  readonly wire: Wire;
  readonly #process: SimProcess;
  readonly #server: StoreServer;
  readonly #listeners = new Set<() => void>();
  #incarnation: number;
  #state: 'up' | 'down' = 'up';

  constructor(server: StoreServer, options: Omit<WireOptions, 'onBroken'>) {
    this.#process = options.process;
    this.#server = server;
    this.#incarnation = server.incarnation;
    this.wire = new Wire({ ...options, onBroken: () => this.#broken() });
    server.join(this.wire);
  }

  get state(): 'up' | 'down' {
    return this.#state;
  }

  onDoubt(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #broken(): void {
    if (this.#state === 'down') return;
    this.#state = 'down';
    void this.#connectAgain();
  }

  async #connectAgain(): Promise<void> {
    while (this.#state === 'down') {
      try {
        const incarnation = await this.wire.call('hello', () => this.#server.incarnation);
        this.#state = 'up';
        if (incarnation === this.#incarnation) return;
        this.#incarnation = incarnation;
        for (const listener of [...this.#listeners]) listener();
      } catch (thrown) {
        if (!(thrown instanceof Unreachable)) throw thrown;
        await new Promise<void>((resolve) => this.#process.after(RECONNECT_MS, resolve));
      }
    }
  }
}
