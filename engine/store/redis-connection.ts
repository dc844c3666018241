/**
 * One connection to Redis that comes back by itself for ever (redis-client.ts sets the library up).
 *
 * Calls never wait for a connection: while it is down they reject at once, and one that gets no answer rejects when the
 * connection closes or after CALL_TIMEOUT_MS, whichever is first; so nothing is queued here. Calls made in one tick
 * leave in one write. Nothing is ever sent twice by this file: repeating is safe for the callers, who know when to.
 */
import { messageOf } from '@flowops/proto/errors.ts';
import type { Redis } from 'ioredis';
import type { Log } from '../log.ts';
import { newClient } from './redis-client.ts';
import { isLastingRefusal, redisFailure, replyCode } from './redis-failure.ts';
import { type TaggedReply, taggedReply } from './redis-reply.ts';
import { type RedisScript, SCRIPTS } from './redis-scripts.ts';
import type { RedisAddress } from './redis-url.ts';
import { StoreUnavailable } from './run-store.ts';

/** How long a start waits for a Redis that is not there (yet): containers of one deployment start together. */
const START_PATIENCE_MS = 3_000;
const QUIT_TIMEOUT_MS = 1_000;

export type ConnectionState = 'up' | 'down';

export interface RedisConnection {
  readonly label: string;
  readonly state: ConnectionState;
  /** Tells each change; the result ends that. */
  onState(listener: (state: ConnectionState) => void): () => void;
  run(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<TaggedReply>;
  /** A plain command. The reply is to be parsed. */
  command(name: string, args: readonly (string | number)[]): Promise<unknown>;
  /** Waits for the answers of what was called. Idempotent. */
  close(): Promise<void>;
}

/** @throws StoreUnavailable when Redis cannot be reached or refuses us */
export async function connectRedis(
  address: RedisAddress,
  options: { readonly signal?: AbortSignal | undefined; readonly log: Log },
): Promise<RedisConnection> {
  const redis = newClient(address);
  try {
    await firstReady(redis, address.label, options.signal);
    await Promise.all(loadScripts(redis));
  } catch (thrown) {
    redis.disconnect();
    options.signal?.throwIfAborted();
    throw redisFailure(thrown, address.label);
  }
  return new Connection(redis, address.label, options.log);
}

class Connection implements RedisConnection {
  readonly label: string;
  readonly #redis: Redis;
  readonly #log: Log;
  readonly #listeners = new Set<(state: ConnectionState) => void>();
  #state: ConnectionState = 'up';
  #lastError: unknown;
  #isCorked = false;
  #closing: Promise<void> | undefined;

  constructor(redis: Redis, label: string, log: Log) {
    this.#redis = redis;
    this.label = label;
    this.#log = log;
    redis.on('error', (error) => {
      this.#lastError = error;
    });
    redis.on('ready', () => this.#up());
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

  async command(name: string, args: readonly (string | number)[]): Promise<unknown> {
    try {
      return await this.#send(name, [...args]);
    } catch (thrown) {
      throw redisFailure(thrown, this.label);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#quit();
    return this.#closing;
  }

  #send(name: string, args: (string | number)[]): Promise<unknown> {
    if (this.#closing !== undefined) {
      return Promise.reject(new StoreUnavailable(`the connection to Redis at ${this.label} was closed`));
    }
    if (this.#redis.status !== 'ready') {
      const why = this.#lastError === undefined ? '' : `: ${messageOf(this.#lastError)}`;
      return Promise.reject(
        new StoreUnavailable(`Redis at ${this.label} is not reachable${why}; the engine goes on when it is back`),
      );
    }
    this.#corkForThisTick();
    return this.#redis.call(name, args);
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

  #up(): void {
    // Sent before anything else on this connection; a failure shows in the calls that need them.
    for (const loading of loadScripts(this.#redis)) loading.catch(() => {});
    if (this.#state === 'up') return;
    this.#log.info({}, `Redis at ${this.label} is back`);
    this.#lastError = undefined;
    this.#change('up');
  }

  #down(): void {
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

async function firstReady(redis: Redis, label: string, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  let lastError: unknown;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onError = (error: unknown) => {
    lastError = error;
    if (isLastingRefusal(error)) reject(refusedAtStart(error, label));
  };
  const onAbort = () => reject(signal?.reason);
  const timer = setTimeout(() => reject(unreachable(lastError, label)), START_PATIENCE_MS);
  redis.on('error', onError);
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

function unreachable(lastError: unknown, label: string): StoreUnavailable {
  const why = lastError === undefined ? 'no answer' : messageOf(lastError);
  return new StoreUnavailable(`Redis at ${label} cannot be reached (${why}): start it, or correct REDIS_URL`, {
    cause: lastError,
  });
}

function loadScripts(redis: Redis): Promise<unknown>[] {
  return Object.values(SCRIPTS).map(({ text }) => redis.call('script', ['LOAD', text]));
}
