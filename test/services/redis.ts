/**
 * A real Redis for tests. `startRedis` gives an instance of the test's own, which it may kill and restart; `sharedRedis`
 * the one of REDIS_URL, or one for the whole test run (global-setup.ts); `freshRedis` an empty database of the shared one.
 * Sources, in this order: the installed redis-server, the Docker image, the system's package. Nothing that is there is
 * downloaded again.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { hasProgram, type ServiceChild, startChild } from './child.ts';
import { containerService, hasImage } from './docker-image.ts';
import { freePort, LOOPBACK, waitForPort } from './ports.ts';
import { removeFolder, scratchFolder } from './scratch.ts';
import { needProgram } from './system-package.ts';

const IMAGE = 'redis:7';
const START_TIMEOUT_MS = 20_000;
/** More than the tests of one run take. */
const DATABASES = 4096;
/** In database 0: every test takes the next number, so that two tests share none. */
const COUNTER_KEY = 'flowops-test:next-database';

export interface RedisOptions {
  /** How often the append-only file is synced; `no` runs without one. Default everysec. */
  readonly appendonly?: 'everysec' | 'always' | 'no';
  /** Further `--name value` settings, as `maxmemory-policy`. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly dir?: string;
  readonly port?: number;
}

export interface RedisService {
  readonly url: string;
  readonly port: number;
  /** What redis-cli would print for simple replies: text as it is, anything else as JSON. */
  cli(command: string, ...args: readonly string[]): Promise<string>;
  /** Ends it in order; the data stays until the test process ends. Idempotent. */
  stop(): Promise<void>;
  /** As when the machine's power goes; `restart` brings it back with what it had written. */
  kill9(): Promise<void>;
  /** SIGSTOP: connections stay, nothing is answered, until `thaw`. */
  freeze(): void;
  thaw(): void;
  /** Stops it if it runs, starts it again on the same port and folder, and waits until it answers. */
  restart(): Promise<void>;
}

/** An own instance on a free loopback port. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisService> {
  const dir = options.dir ?? scratchFolder();
  const port = options.port ?? (await freePort());
  const service = await keepRunning(dir, port, serverArguments(dir, port, options));
  return {
    ...service,
    stop: async () => {
      await service.stop();
      if (options.dir === undefined) removeFolder(dir);
    },
  };
}

/** A server with these arguments that answers on `port`; `stop` leaves its folder. */
export async function keepRunning(dir: string, port: number, args: readonly string[]): Promise<RedisService> {
  const command = await serverCommand(dir, args);
  const url = `redis://${LOOPBACK}:${port}`;
  let child = await up(command, dir, port);
  return {
    url,
    port,
    cli: (name, ...args) => cli(url, name, args),
    stop: () => child.stop(),
    kill9: () => child.kill9(),
    freeze: () => child.freeze(),
    thaw: () => child.thaw(),
    restart: async () => {
      await child.stop();
      child = await up(command, dir, port);
    },
  };
}

/** The Redis at REDIS_URL, or an own one. `stop` leaves the former alone. */
export async function sharedRedis(): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const given = process.env.REDIS_URL;
  if (given === undefined || given === '') return startRedis();
  await cli(given, 'PING', []);
  return { url: given, stop: async () => {} };
}

export interface FreshRedis {
  /** Ends in `/<number>`: a database that was empty. */
  readonly url: string;
  readonly database: number;
  cli(command: string, ...args: readonly string[]): Promise<string>;
  /** Empties it. */
  release(): Promise<void>;
}

/**
 * An empty database of a server, for one test: the engine's key names are fixed, so that tests cannot share one.
 * @param serverUrl usually `inject('redisUrl')`
 */
export async function freshRedis(serverUrl: string): Promise<FreshRedis> {
  const count = await databaseCount(serverUrl);
  for (let tries = 0; tries < count; tries++) {
    const next = Number(await cli(serverUrl, 'INCR', [COUNTER_KEY]));
    const database = 1 + (next % (count - 1));
    const address = new URL(serverUrl);
    address.pathname = `/${database}`;
    const url = address.href;
    if ((await cli(url, 'DBSIZE', [])) !== '0') continue;
    return {
      url,
      database,
      cli: (name, ...args) => cli(url, name, args),
      release: async () => {
        await cli(url, 'FLUSHDB', []);
      },
    };
  }
  throw new Error(`${serverUrl} has no empty database (of ${count}) for a test`);
}

async function databaseCount(url: string): Promise<number> {
  const answer = await cli(url, 'CONFIG', ['GET', 'databases']);
  const count = Number(answer.match(/\d+/)?.[0]);
  if (!Number.isInteger(count) || count < 2) throw new Error(`${url} has no second database for tests`);
  return count;
}

async function cli(url: string, name: string, args: readonly string[]): Promise<string> {
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 1, retryStrategy: () => null });
  client.on('error', () => {});
  try {
    await client.connect();
    const reply = await client.call(name, ...args);
    return typeof reply === 'string' ? reply : JSON.stringify(reply);
  } finally {
    client.disconnect();
  }
}

function serverArguments(dir: string, port: number, options: RedisOptions): readonly string[] {
  const sync = options.appendonly ?? 'everysec';
  const settings: Record<string, string> = {
    port: String(port),
    bind: LOOPBACK,
    dir,
    save: '',
    databases: String(DATABASES),
    ...(sync === 'no' ? { appendonly: 'no' } : { appendonly: 'yes', appendfsync: sync }),
    'maxmemory-policy': 'noeviction',
    ...options.settings,
  };
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
}

interface ServerCommand {
  readonly argv: readonly string[];
  readonly inContainer: boolean;
}

async function serverCommand(dir: string, args: readonly string[]): Promise<ServerCommand> {
  const argv = ['redis-server', ...args];
  if (!(await hasProgram('redis-server'))) {
    if (await hasImage(IMAGE, { pull: true })) return { argv: containerService(IMAGE, dir, argv), inContainer: true };
    await needProgram('redis-server', 'redis-server');
  }
  return { argv, inContainer: false };
}

async function up(command: ServerCommand, dir: string, port: number): Promise<ServiceChild> {
  const child = startChild(command.argv, { logFile: join(dir, 'log'), inContainer: command.inContainer });
  try {
    await ready(port, AbortSignal.any([child.ended, AbortSignal.timeout(START_TIMEOUT_MS)]));
    return child;
  } catch (cause) {
    await child.kill9();
    throw new Error(`redis-server did not start on port ${port}:\n${child.logTail()}`, { cause });
  }
}

/** Listening is not enough: while it reads its append-only file, it answers LOADING. */
async function ready(port: number, signal: AbortSignal): Promise<void> {
  await waitForPort(port, signal);
  for (;;) {
    try {
      await cli(`redis://${LOOPBACK}:${port}`, 'PING', []);
      return;
    } catch {
      signal.throwIfAborted();
      await sleep(20, undefined, { signal });
    }
  }
}
