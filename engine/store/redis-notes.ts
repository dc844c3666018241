/**
 * Notes as they come, by Redis' pub/sub, on a connection of its own (a subscribed connection takes no other command).
 *
 * Nothing depends on it: a note is in the run's inbox before it is told here, and one that is told while this connection
 * is down is only there. So it fails in silence but for one warning, and comes back for ever.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '@flowops/proto/errors.ts';
import type { Redis } from 'ioredis';
import type { Log } from '../log.ts';
import { parseRunName, runName } from './keys.ts';
import type { NoteListeners } from './note-listeners.ts';
import { reconnectDelayMs } from './redis-client.ts';
import { replyCode } from './redis-failure.ts';
import type { Ownership, RunRef } from './run-store.ts';

/** What is published: the run, and the note after the first line. */
export function noteMessage(run: RunRef, text: string): string {
  return `${runName(run)}\n${text}`;
}

/** Whatever errors come before it: they are the reason, and told by nobody here. */
function ended(client: Redis): Promise<void> {
  return client.status === 'end' ? Promise.resolve() : new Promise((resolve) => client.once('end', () => resolve()));
}

/** What is published when a partition is opened: no run has this name. */
export function openingMessage({ partition, epoch }: Ownership): string {
  return `${OPENING}\n${epoch} ${partition}`;
}

const OPENING = 'open';

export class RedisNotes {
  readonly #newClient: () => Redis;
  readonly #channelOf: (partition: string) => string;
  readonly #listeners: NoteListeners;
  readonly #log: Log;
  readonly #closed = new AbortController();
  /** The one that connects or is connected; `#ready` once it is. */
  #client: Redis | undefined;
  #ready: Redis | undefined;
  #hasWarned = false;

  /** @param options.newClient an unconnected client that does not connect again by itself */
  constructor(options: {
    readonly newClient: () => Redis;
    readonly channelOf: (partition: string) => string;
    readonly listeners: NoteListeners;
    readonly log: Log;
  }) {
    this.#newClient = options.newClient;
    this.#channelOf = options.channelOf;
    this.#listeners = options.listeners;
    this.#log = options.log;
  }

  /** Resolves after the first try to connect, whatever came of it. */
  async start(): Promise<void> {
    const client = await this.#connect();
    void this.#stay(client);
  }

  /** Resolves when the notes of the partition are heard, or cannot be at the moment. */
  async open(partition: string): Promise<void> {
    if (this.#ready !== undefined) await this.#subscribe(this.#ready, [partition]);
  }

  close(partition: string): void {
    // Nobody waits for it: what comes on it all the same is told to nobody.
    this.#ready?.unsubscribe(this.#channelOf(partition)).catch(() => {});
  }

  /** Connects anew: what broke the other connections may have left this one half open. */
  reconnect(): void {
    this.#ready?.disconnect();
  }

  /** Idempotent. */
  end(): void {
    this.#closed.abort();
    this.#client?.disconnect();
    this.#ready = undefined;
  }

  /** Connects again for ever. */
  async #stay(first: Redis | undefined): Promise<void> {
    let client = first;
    for (let attempt = 1; !this.#closed.signal.aborted; attempt++) {
      if (client !== undefined) {
        attempt = 1;
        await ended(client);
        this.#ready = undefined;
      }
      await pause(reconnectDelayMs(attempt), undefined, { signal: this.#closed.signal, ref: false }).catch(() => {});
      if (!this.#closed.signal.aborted) client = await this.#connect();
    }
  }

  async #connect(): Promise<Redis | undefined> {
    const client = this.#newClient();
    this.#client = client;
    client.on('error', () => {});
    client.on('message', (_channel: string, message: string) => this.#hear(message));
    try {
      await client.connect();
      if (this.#closed.signal.aborted) throw new Error('closed');
      this.#ready = client;
      await this.#subscribe(client, [...this.#listeners.partitions]);
      return client;
    } catch {
      client.disconnect();
      return undefined;
    }
  }

  async #subscribe(client: Redis, partitions: readonly string[]): Promise<void> {
    if (partitions.length === 0) return;
    try {
      await client.subscribe(...partitions.map(this.#channelOf));
    } catch (thrown) {
      if (replyCode(thrown) !== 'NOPERM' || this.#hasWarned) return;
      this.#hasWarned = true;
      this.#log.warn(
        {},
        `the user of REDIS_URL may not use the channels flowops:* (${messageOf(thrown)}): runs that change their engine wait for the lease of the sandbox host; allow &flowops:*`,
      );
    }
  }

  #hear(message: string): void {
    const end = message.indexOf('\n');
    const [name, text] = [message.slice(0, Math.max(end, 0)), message.slice(end + 1)];
    const run = parseRunName(name);
    if (run !== undefined) this.#listeners.tell(run, text);
    const [, epoch, partition] = /^(\d{1,16}) (.*)$/.exec(text) ?? [];
    if (name !== OPENING || partition === undefined) return;
    this.#listeners.heardOpening({ partition, epoch: Number(epoch) });
  }
}
