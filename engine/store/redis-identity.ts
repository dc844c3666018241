/**
 * Whether the servers are still those that acknowledged our writes. One that was restarted, or another in its place, may
 * lack the last moments; a connection that broke and came back to the same process lacks nothing.
 */
import type { RedisServers } from './redis-servers.ts';

type Watched = Pick<RedisServers, 'state' | 'onState'>;

export class ServerIdentities {
  /** Label → the server's own id of its process. */
  readonly #runIds = new Map<string, string | undefined>();
  readonly #listeners = new Set<() => void>();
  #servers: Watched | undefined;
  #isDue = false;

  /** The connect to that server is done. `runId` is undefined where it is not told: then every connect is in doubt. */
  seen(label: string, runId: string | undefined): void {
    const isSame = runId !== undefined && this.#runIds.get(label) === runId;
    this.#runIds.set(label, runId);
    if (this.#servers === undefined || isSame) return;
    this.#isDue = true;
    this.#tellWhenUp(this.#servers);
  }

  /** It holds nothing any more; what it holds when it comes back was written to others. */
  forget(label: string): void {
    this.#runIds.delete(label);
  }

  /** From here on, what has changed since is told. */
  watch(servers: Watched): void {
    this.#servers = servers;
    servers.onState(() => this.#tellWhenUp(servers));
  }

  onDoubt(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Who hears of it looks at the store, which has to be there for that. */
  #tellWhenUp(servers: Watched): void {
    if (!this.#isDue || servers.state !== 'up') return;
    this.#isDue = false;
    for (const listener of [...this.#listeners]) listener();
  }
}
