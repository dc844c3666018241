/**
 * A connection to one Redis server (or to whichever the sentinels name) that comes back by itself for ever.
 *
 * Calls never wait for a connection: while it is down they reject at once, and one that gets no answer rejects when the
 * connection closes or after the client's time for calls, whichever is first; so nothing is queued here. Calls made in
 * one tick leave in one write. Nothing is ever sent twice by this file: repeating is safe for the callers, who know when.
 *
 * After every connect the server is looked at (`admit`) before anything is called: a failover or a restart may have put
 * one there that loses runs. A server that is not admitted counts as down until it is.
 */
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import type { Redis } from 'ioredis';
import type { Log } from '../log.ts';
import { newClient } from './redis-client.ts';
import { isLastingRefusal, redisFailure, replyCode } from './redis-failure.ts';
import { greetingOf } from './redis-greeting.ts';
import { type TaggedReply, taggedReply } from './redis-reply.ts';
import { type RedisScript, SCRIPTS } from './redis-scripts.ts';
import type { RedisAddress } from './redis-url.ts';
import { StoreUnavailable } from './run-store.ts';

/** How long a start waits for a Redis that is not there (yet): containers of one deployment start together. */
const START_PATIENCE_MS = 3_000;
/** An operator corrects the setting of a server that was not admitted and waits for this. */
const ADMIT_AGAIN_MS = 2_000;
const QUIT_TIMEOUT_MS = 1_000;

export type ConnectionState = 'up' | 'down';

/** A plain command. The reply is to be parsed. */
export type RedisCommand = (name: string, args: readonly (string | number)[]) => Promise<unknown>;

export interface RedisNode {
  readonly label: string;
  readonly state: ConnectionState;
  readonly command: RedisCommand;
  run(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<TaggedReply>;
  /** Tells each change; the result ends that. */
  onState(listener: (state: ConnectionState) => void): () => void;
  /** Waits for the answers of what was called. Idempotent. */
  close(): Promise<void>;
}

export interface ConnectOptions {
  /** Rejects, with FlowopsError, when the server may not be used. */
  readonly admit: (command: RedisCommand, label: string) => Promise<void>;
  readonly signal?: AbortSignal | undefined;
  readonly log: Log;
}

/** @throws StoreUnavailable when Redis cannot be reached or refuses us, FlowopsError when `admit` did */
export async function connectRedis(address: RedisAddress, options: ConnectOptions): Promise<RedisNode> {
  const redis = newClient(address);
  try {
    await firstReady(redis, address, options.signal);
    const connection = new Connection(redis, address.label, options);
    await connection.admitted();
    return connection;
  } catch (thrown) {
    redis.disconnect();
    options.signal?.throwIfAborted();
    throw thrown instanceof FlowopsError ? thrown : redisFailure(thrown, address.label);
  }
}

class Connection implements RedisNode {
  readonly label: string;
  readonly #redis: Redis;
  readonly #log: Log;
  readonly #admit: ConnectOptions['admit'];
  readonly #listeners = new Set<(state: ConnectionState) => void>();
  #state: ConnectionState = 'down';
  /** Counts connects: what was found about an earlier one means nothing. */
  #connects = 0;
  #lastError: unknown;
  #isCorked = false;
  #admitTimer: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(redis: Redis, label: string, options: ConnectOptions) {
    this.#redis = redis;
    this.label = label;
    this.#log = options.log;
    this.#admit = options.admit;
    redis.on('error', (error) => {
      this.#lastError = error;
    });
    redis.on('ready', () => this.#ready());
    redis.on('close', () => this.#down());
  }

  get state(): ConnectionState {
    return this.#state;
  }

  onState(listener: (state: ConnectionState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async run(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<TaggedReply> {
    try {
      return taggedReply(await this.#send('evalsha', [script.sha, keys.length, ...keys, ...args]));
    } catch (thrown) {
      if (replyCode(thrown) !== 'NOSCRIPT') throw redisFailure(thrown, this.label);
    }
    return taggedReply(await this.command('eval', [script.text, keys.length, ...keys, ...args]));
  }

  readonly command: RedisCommand = async (name, args) => {
    try {
      return await this.#send(name, args);
    } catch (thrown) {
      throw redisFailure(thrown, this.label);
    }
  };

  /** The first look at the server, whose refusal ends the start. */
  async admitted(): Promise<void> {
    const connects = this.#connects;
    const loading = Promise.allSettled(this.#loadScripts());
    // What it is comes before what it cannot do: a sentinel knows no scripts.
    await this.#look();
    for (const loaded of await loading) if (loaded.status === 'rejected') throw loaded.reason;
    if (connects === this.#connects && this.#redis.status === 'ready') this.#state = 'up';
  }

  close(): Promise<void> {
    this.#closing ??= this.#quit();
    return this.#closing;
  }

  #send(name: string, args: readonly (string | number)[]): Promise<unknown> {
    if (this.#closing !== undefined) {
      return Promise.reject(new StoreUnavailable(`the connection to Redis at ${this.label} was closed`));
    }
    if (this.#state === 'down' || this.#redis.status !== 'ready') {
      const why = this.#lastError === undefined ? '' : `: ${messageOf(this.#lastError)}`;
      return Promise.reject(
        new StoreUnavailable(`Redis at ${this.label} is not reachable${why}; the engine goes on when it is back`),
      );
    }
    this.#corkForThisTick();
    return this.#redis.call(name, [...args]);
  }

  /** The commits of 200 runs in one tick are one system call instead of 200. */
  #corkForThisTick(): void {
    if (this.#isCorked) return;
    const { stream } = this.#redis;
    this.#isCorked = true;
    stream.cork();
    process.nextTick(() => {
      this.#isCorked = false;
      stream.uncork();
    });
  }

  #ready(): void {
    this.#connects += 1;
    // Sent before anything else on this connection; a failure shows in the calls that need them.
    for (const loading of this.#loadScripts()) loading.catch(() => {});
    if (this.#state === 'down') void this.#admitAgain(this.#connects);
  }

  async #admitAgain(connects: number): Promise<void> {
    try {
      await this.#look();
    } catch (thrown) {
      if (!this.#isCurrent(connects)) return;
      if (this.#lastError === undefined || messageOf(this.#lastError) !== messageOf(thrown)) {
        this.#log.error({}, `Redis at ${this.label} is not used: ${messageOf(thrown)}`);
      }
      this.#lastError = thrown;
      this.#admitTimer = setTimeout(() => void this.#admitAgain(connects), ADMIT_AGAIN_MS);
      return;
    }
    if (!this.#isCurrent(connects)) return;
    this.#log.info({}, `Redis at ${this.label} is back`);
    this.#lastError = undefined;
    this.#change('up');
  }

  #isCurrent(connects: number): boolean {
    return connects === this.#connects && this.#redis.status === 'ready' && this.#closing === undefined;
  }

  #look(): Promise<void> {
    return this.#admit((name, args) => this.#redis.call(name, [...args]), this.label);
  }

  #loadScripts(): Promise<unknown>[] {
    return Object.values(SCRIPTS).map(({ text }) => this.#redis.call('script', ['LOAD', text]));
  }

  #down(): void {
    clearTimeout(this.#admitTimer);
    if (this.#state === 'down') return;
    if (this.#closing === undefined) {
      const why = this.#lastError === undefined ? 'the connection was closed' : messageOf(this.#lastError);
      this.#log.warn({}, `Redis at ${this.label} is lost (${why}); connecting again until it answers`);
    }
    this.#change('down');
  }

  #change(state: ConnectionState): void {
    this.#state = state;
    for (const listener of [...this.#listeners]) listener(state);
  }

  async #quit(): Promise<void> {
    if (this.#redis.status === 'ready') {
      const timer = setTimeout(() => this.#redis.disconnect(), QUIT_TIMEOUT_MS);
      // Redis answers QUIT after everything before it; a connection that breaks meanwhile is closed as well.
      await this.#redis.quit().catch(() => {});
      clearTimeout(timer);
    }
    this.#redis.disconnect();
    this.#down();
    this.#listeners.clear();
  }
}

async function firstReady(redis: Redis, address: RedisAddress, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  let lastError: unknown;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onError = (error: unknown) => {
    lastError = error;
    if (isLastingRefusal(error)) reject(refusedAtStart(error, address.label));
  };
  const onAbort = () => reject(signal?.reason);
  const giveUp = async () => {
    const greeting = await greetingOf(address);
    reject(greeting === undefined ? unreachable(lastError, address) : refusedAtStart(greeting, address.label));
  };
  const timer = setTimeout(giveUp, START_PATIENCE_MS);
  redis.on('error', onError);
  redis.on('sentinelError', onError);
  redis.once('ready', resolve);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    // Its own rejection is only the first failure; the client tries again until `promise` is settled.
    redis.connect().catch(() => {});
    await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    redis.off('ready', resolve);
  }
}

function refusedAtStart(error: unknown, label: string): Error {
  const failure = redisFailure(error, label);
  return failure instanceof StoreUnavailable ? failure : new StoreUnavailable(failure.message, { cause: error });
}

function unreachable(lastError: unknown, { label, sentinel }: RedisAddress): StoreUnavailable {
  const why = lastError === undefined ? 'no answer' : messageOf(lastError);
  const what = sentinel === undefined ? '' : ' and the name of its primary';
  return new StoreUnavailable(`Redis at ${label} cannot be reached (${why}): start it, or correct REDIS_URL${what}`, {
    cause: lastError,
  });
}
