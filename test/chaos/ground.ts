/**
 * What all scenarios of one call stand on: a broker, a Redis with an append-only file, a plugin service, the plugins' own
 * log, and for each engine a relay to the first two. Scenarios keep apart by topics, group and database of their own; who
 * breaks something here mends it again.
 */
import { readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { type KafkaService, startKafka } from '../services/kafka.ts';
import { freePort } from '../services/ports.ts';
import { type RedisService, startRedis } from '../services/redis.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { type Registry, startRegistry } from '../support/service-plugins.ts';
import { EffectLog } from './effect-log.ts';
import { Relay } from './relay.ts';
import { publishWorkPlugin } from './work-plugin.ts';

export const MAX_ENGINES = 3;
/** Of the status topic, and of the commands' at the beginning: two for each engine. */
export const PARTITIONS = 6;

const MAX_BROKER_STARTS = 3;

export interface EngineRelays {
  readonly kafka: Relay;
  readonly redis: Relay;
}

export interface Ground {
  readonly kafka: KafkaService;
  readonly redis: RedisService;
  readonly registry: Registry;
  readonly effects: EffectLog;
  /** One for each engine, for scenarios about its network. */
  readonly relays: readonly EngineRelays[];
  /** Where Redis keeps its data. */
  readonly redisDir: string;
  close(): Promise<void>;
}

export async function openGround(): Promise<Ground> {
  const ends: (() => Promise<void> | void)[] = [];
  const close = async () => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  const folder = scratchFolder();
  ends.push(() => removeFolder(folder));
  try {
    const redisDir = scratchFolder();
    ends.push(() => removeFolder(redisDir));
    const effects = await EffectLog.open();
    ends.push(() => effects.close());
    const relays = await Promise.all(Array.from({ length: MAX_ENGINES }, openRelays));
    for (const { kafka, redis } of relays)
      ends.push(async () => void (await Promise.all([kafka.close(), redis.close()])));
    const [kafka, redis] = await Promise.all([
      startBroker(relays),
      startRedis({ dir: redisDir }),
      publishWorkPlugin(folder, effects.place, join(folder, 'home')),
    ]);
    ends.push(
      () => kafka.stop(),
      () => redis.stop(),
    );
    for (const relay of relays) relay.redis.leadTo(redis.port);
    const registry = await startRegistry(folder);
    ends.push(async () => void (await registry.process.powerCut()));
    return { kafka, redis, registry, effects, relays, redisDir, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

/** One that clients behind the relays reach through them, and only so. */
async function startBroker(relays: readonly EngineRelays[]): Promise<KafkaService> {
  for (let tries = 1; ; tries++) {
    const ports = await Promise.all(relays.map(() => freePort()));
    try {
      const relayed = relays.map(({ kafka }, index) => ({ port: ports[index] ?? 0, toldPort: kafka.port }));
      const broker = await startKafka({ partitions: PARTITIONS, relayed });
      for (const [index, { kafka }] of relays.entries()) kafka.leadTo(ports[index] ?? 0);
      return broker;
    } catch (thrown) {
      // A port that was free a moment ago is another's now.
      if (tries === MAX_BROKER_STARTS) throw thrown;
    }
  }
}

async function openRelays(): Promise<EngineRelays> {
  const [kafka, redis] = await Promise.all([Relay.open(), Relay.open()]);
  return { kafka, redis };
}

/** How many bytes Redis has appended so far. */
export function appendedBytes(redisDir: string): number {
  return statSync(appendOnlyFile(redisDir)).size;
}

/** As when a machine loses what was not synced yet: only for a Redis that does not run. */
export function forgetAfter(redisDir: string, bytes: number): void {
  truncateSync(appendOnlyFile(redisDir), bytes);
}

function appendOnlyFile(redisDir: string): string {
  const dir = join(redisDir, 'appendonlydir');
  const name = readdirSync(dir).find((file) => file.endsWith('.incr.aof'));
  if (name === undefined) throw new Error(`${dir} has no file that Redis appends to`);
  return join(dir, name);
}
