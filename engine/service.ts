/**
 * The service: commands from Kafka, runs in Redis, statuses to Kafka, sandbox hosts of its own or shared. Opened in the order
 * in which things can be wrong with a clear sentence, closed in the order that loses nothing.
 */
import { join, resolve } from 'node:path';
import { FlowopsError } from '@flowops/proto/errors.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import type { Settings } from '@flowops/proto/settings-reader.ts';
import { type Engine, startEngine } from './app.ts';
import type { KafkaCommandConsumer } from './commands/kafka-consumer.ts';
import { openKafkaTransport } from './commands/kafka-transport.ts';
import { StoreCertainty } from './commands/store-certainty.ts';
import { startHttpServer } from './http/server.ts';
import type { Log } from './log.ts';
import { openPluginService } from './plugins/open-plugin-service.ts';
import { KafkaUnavailable } from './publishing/kafka-client.ts';
import { readKafkaSecurity } from './publishing/kafka-security.ts';
import type { EngineSandboxes } from './sandbox-client/engine-sandboxes.ts';
import { openSandboxes } from './sandbox-client/open-sandboxes.ts';
import { type HomeLock, lockHome } from './store/home-lock.ts';
import { readRedisSettings } from './store/redis-settings.ts';
import { connectRedisStore } from './store/redis-store.ts';
import { StoreUnavailable } from './store/run-store.ts';

export interface ServiceOptions {
  readonly settings: Settings;
  readonly log: Log;
  /** Opens PLUGIN_DIR; given by whoever knows how to build plugins. */
  readonly openPluginFolder: (dir: string, sandbox: EngineSandboxes) => Promise<PluginSource>;
  /** Ends the opening. */
  readonly signal: AbortSignal;
}

export interface Service {
  readonly engine: Engine;
  /** Settles when the service cannot go on by itself; the process should close it and end with exit code 3. */
  readonly failed: Promise<{ readonly message: string }>;
  close(): Promise<void>;
}

/** @throws FlowopsError with one sentence that says what to do: CONFIG_INVALID, or SANDBOX_UNAVAILABLE for infrastructure. */
export async function openService(options: ServiceOptions): Promise<Service> {
  const { values } = options.settings;
  const { brokers, redisUrl } = requireAddresses(values);
  const security = readKafkaSecurity(values);
  const home = resolve(values.FLOWOPS_HOME);
  const opened: (() => Promise<void> | void)[] = [];
  try {
    const lock = takeHome(home);
    opened.push(() => lock.release());
    const { log, signal } = options;
    const store = await connectRedisStore({ url: redisUrl, ...readRedisSettings(values), signal, log });
    opened.push(() => store.close());
    const kafka = await openKafkaTransport({
      brokers,
      security,
      clientId: `flowops-engine-${process.pid}`,
      groupId: values.KAFKA_GROUP_ID,
      topics: {
        commands: values.KAFKA_COMMANDS_TOPIC,
        status: values.KAFKA_STATUS_TOPIC,
        outcomes: values.KAFKA_OUTCOMES_TOPIC,
        deadLetters: values.KAFKA_DLQ_TOPIC,
      },
      statusEncoding: values.KAFKA_STATUS_ENCODING,
      publishFence: values.KAFKA_PUBLISH_FENCE,
      log,
      signal,
    });
    opened.push(() => kafka.close());
    const { settings } = options;
    const sandboxes = await openSandboxes({ settings, home, vouches: () => kafka.standing.isGood, log });
    opened.push(() => sandboxes.close());
    let engine: Engine | undefined;
    const plugins = await openPlugins(options, home, sandboxes, async () => engine?.runs.pinnedDigests() ?? new Set());
    engine = await startEngine({
      store,
      publisher: kafka.publisher,
      standing: kafka.standing,
      plugins,
      sandboxes,
      log,
      retentionMs: values.RUN_RETENTION,
      stopGraceMs: values.STOP_GRACE_MS,
      leaseMs: values.SANDBOX_LEASE_MS,
    });
    const running = engine;
    const runs = engine.runs;
    const consuming: { consumer?: KafkaCommandConsumer; isEnding: boolean } = { isEnding: false };
    const http = await startHttpServer({
      host: values.HTTP_HOST,
      port: values.HTTP_PORT,
      readiness: () => ({
        store: store.state,
        group: kafka.standing.isGood ? 'good' : 'silent',
        sandboxHosts: sandboxes.health().filter(({ state }) => state === 'connected').length,
        sandboxes: sandboxes.health(),
        partitions: consuming.consumer?.partitions ?? [],
        activeRuns: runs.activeCount,
        queuedRuns: runs.queuedCount,
        restingRuns: runs.parkedCount,
        runsOfUnknownFormat: runs.unknownFormatCount,
        runsLost: runs.lostCount,
        unconfirmedStops: runs.unconfirmedStopCount,
        isEnding: consuming.isEnding,
      }),
    });
    opened.push(() => http.close());
    log.info({ address: http.address }, 'health is told at /health/ready');
    const certainty = new StoreCertainty({ store, verify: () => runs.verified(), now: () => performance.now() });
    opened.push(() => certainty.close());
    const consumer = await kafka.consume(runs, certainty);
    consuming.consumer = consumer;
    const close = async () => {
      consuming.isEnding = true;
      await closeInOrder(consumer, running, values.DRAIN_MS);
      certainty.close();
      await http.close();
      lock.release();
    };
    let closing: Promise<void> | undefined;
    return { engine, failed: consumer.failed, close: () => (closing ??= close()) };
  } catch (thrown) {
    for (const close of opened.reverse()) await close();
    throw asFlowopsError(thrown);
  }
}

/**
 * Commands stop first; then what ends with this engine may finish, and is told; what was read is committed, the runs
 * are given up and only then the group left, so that nobody else has them while they are still ours. The ends of what
 * was cut off are noted for the next owner at last.
 */
async function closeInOrder(consumer: KafkaCommandConsumer, engine: Engine, drainMs: number): Promise<void> {
  consumer.stopTaking();
  await engine.drain(drainMs);
  await consumer.close();
  await engine.close();
}

function requireAddresses(values: Settings['values']): { brokers: readonly string[]; redisUrl: string } {
  const { KAFKA_BROKERS: brokers, REDIS_URL: redisUrl } = values;
  const embedded = 'or start it with --embedded, which needs neither';
  if (brokers === undefined && redisUrl === undefined) {
    throw new FlowopsError('CONFIG_INVALID', `KAFKA_BROKERS and REDIS_URL are not set; set both, ${embedded}`);
  }
  if (brokers === undefined)
    throw new FlowopsError('CONFIG_INVALID', `REDIS_URL is set but KAFKA_BROKERS is not; set it, ${embedded}`);
  if (redisUrl === undefined)
    throw new FlowopsError('CONFIG_INVALID', `KAFKA_BROKERS is set but REDIS_URL is not; set it, ${embedded}`);
  return { brokers, redisUrl };
}

function takeHome(home: string): HomeLock {
  const locked = lockHome(home);
  if (locked.result === 'held') return locked.lock;
  throw new FlowopsError('CONFIG_INVALID', locked.message);
}

async function openPlugins(
  { settings, log, openPluginFolder }: ServiceOptions,
  home: string,
  sandboxes: EngineSandboxes,
  pinned: () => Promise<ReadonlySet<string>>,
): Promise<PluginSource> {
  const { PLUGIN_SERVICE_ADDRESS: address, PLUGIN_DIR: dir } = settings.values;
  if (address !== undefined && dir !== undefined) {
    throw new FlowopsError('CONFIG_INVALID', 'PLUGIN_SERVICE_ADDRESS and PLUGIN_DIR are both set; keep one');
  }
  if (address !== undefined) return openPluginService({ address, cacheDir: join(home, 'cache'), log, pinned });
  if (dir !== undefined) return openPluginFolder(dir, sandboxes);
  throw new FlowopsError(
    'CONFIG_INVALID',
    'set PLUGIN_SERVICE_ADDRESS (host:port), or PLUGIN_DIR for plugins in a folder',
  );
}

/** What could not be reached is infrastructure: exit code 3, a later try may work. */
function asFlowopsError(thrown: unknown): unknown {
  if (thrown instanceof StoreUnavailable || thrown instanceof KafkaUnavailable) {
    return new FlowopsError('SANDBOX_UNAVAILABLE', thrown.message, { cause: thrown });
  }
  return thrown;
}
