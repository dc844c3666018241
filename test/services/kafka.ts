/**
 * A real Kafka for tests: one broker in KRaft mode on loopback, and Kafka's own console tools to speak to it without any
 * code of ours. `startKafka` gives an instance of the test's own, which it may kill and restart; `sharedKafka` the one of
 * KAFKA_BROKERS, or one for the whole test run. Sources: jars in the user's cache, the Docker image, jars by Maven.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { silenceNegativeTimeouts } from '@flowops/engine/publishing/kafka-client.ts';
import { Kafka, logLevel } from 'kafkajs';
import { runCommand, type ServiceChild, startChild } from './child.ts';
import { containerService, containerTool, hasImage } from './docker-image.ts';
import { hasKafkaJars, KAFKA_VERSION, kafkaJars } from './kafka-jars.ts';
import type { SecuredListeners } from './kafka-secured.ts';
import { freePort, LOOPBACK, waitForPort } from './ports.ts';
import { removeFolder, scratchFolder } from './scratch.ts';

const IMAGE = `apache/kafka:${KAFKA_VERSION}`;
const START_TIMEOUT_MS = 60_000;
const TOOL_TIMEOUT_MS = 60_000;
/** Starts in 3 s instead of 5: one small heap, no optimising compiler. */
const JVM_OPTIONS = ['-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:-UsePerfData'];
const LOG_OPTIONS = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=warn'];
/** What separates key and value for the console tools; no key of ours and no JSON text holds it. */
const SEPARATOR = '\u0001';

export interface KafkaOptions {
  /** Of topics that are made by their first use. Default 4. */
  readonly partitions?: number;
  /** The broker's `message.max.bytes`. Default: Kafka's own, 1 MiB and a bit. */
  readonly maxMessageBytes?: number;
  /** Default true. */
  readonly autoCreateTopics?: boolean;
  /** Further listeners, each told to clients under another port: that of a relay which leads to it. */
  readonly relayed?: readonly RelayedListener[];
  /** Further listeners that ask who is there (kafka-secured.ts). */
  readonly secured?: SecuredListeners;
}

export interface RelayedListener {
  readonly port: number;
  readonly toldPort: number;
}

export type Compression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';

export interface ConsoleRecord {
  readonly partition: number;
  readonly key: string | null;
  readonly value: string | null;
  /** `name:value,…` as the tool prints them; empty without headers. */
  readonly headers: string;
}

export interface KafkaService {
  /** `host:port`, as KAFKA_BROKERS takes it. */
  readonly brokers: string;
  /** Sends one record with Kafka's own console producer (1–2 s). The value must be one line. */
  consoleProduce(topic: string, key: string, value: string, compression?: Compression): Promise<void>;
  /** Reads a topic from its beginning with Kafka's own console consumer, until `count` records or `timeoutMs` of silence. */
  consoleConsume(
    topic: string,
    options?: { readonly count?: number; readonly timeoutMs?: number },
  ): Promise<readonly ConsoleRecord[]>;
  /** Ends it in order. Idempotent. */
  stop(): Promise<void>;
  /** As when the machine's power goes; `restart` brings it back with its data. */
  kill9(): Promise<void>;
  /** SIGSTOP: connections stay, nothing is answered, until `thaw`. */
  freeze(): void;
  thaw(): void;
  /** Stops it if it runs, starts it again on the same port with its data, and waits until it serves. */
  restart(): Promise<void>;
}

/** How this machine runs Java with Kafka's classes. */
interface Runtime {
  /** A short command with stdin. */
  tool(mainClass: string, args: readonly string[]): readonly string[];
  service(mainClass: string, args: readonly string[]): readonly string[];
  readonly inContainer: boolean;
}

/** An own broker on free loopback ports; up in about 4 s. */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaService> {
  const dir = scratchFolder();
  const [port, controllerPort, runtime] = await Promise.all([freePort(), freePort(), findRuntime(dir)]);
  const brokers = `${LOOPBACK}:${port}`;
  const config = join(dir, 'kraft.properties');
  await writeFile(config, properties(dir, port, controllerPort, options));
  const users = (options.secured?.scramUsers ?? []).flatMap((user) => ['--add-scram', user]);
  await runCommand(runtime.tool('kafka.tools.StorageTool', ['format', '-t', clusterId(), '-c', config, ...users]));
  let child = await up(runtime, config, dir, brokers);
  return {
    ...consoleTools(runtime, brokers),
    brokers,
    stop: async () => {
      await child.stop();
      removeFolder(dir);
    },
    kill9: () => child.kill9(),
    freeze: () => child.freeze(),
    thaw: () => child.thaw(),
    restart: async () => {
      await child.stop();
      child = await up(runtime, config, dir, brokers);
    },
  };
}

/** The Kafka at KAFKA_BROKERS, or an own one. `stop` leaves the former alone. */
export async function sharedKafka(): Promise<{ readonly brokers: string; stop(): Promise<void> }> {
  const given = process.env.KAFKA_BROKERS;
  if (given === undefined || given === '') return startKafka();
  await serving(given, AbortSignal.timeout(START_TIMEOUT_MS));
  return { brokers: given, stop: async () => {} };
}

/** Kafka's own console tools on a broker that somebody else started (`inject('kafkaBrokers')`). */
export async function kafkaConsole(brokers: string): Promise<Pick<KafkaService, 'consoleProduce' | 'consoleConsume'>> {
  return consoleTools(await findRuntime(scratchFolder()), brokers);
}

function consoleTools(runtime: Runtime, brokers: string): Pick<KafkaService, 'consoleProduce' | 'consoleConsume'> {
  const server = ['--bootstrap-server', brokers];
  return {
    consoleProduce: async (topic, key, value, compression = 'none') => {
      const reader = ['--property', 'parse.key=true', '--property', `key.separator=${SEPARATOR}`];
      const command = runtime.tool('org.apache.kafka.tools.ConsoleProducer', [
        ...server,
        '--topic',
        topic,
        '--compression-codec',
        compression,
        ...reader,
      ]);
      await runCommand(command, { input: `${key}${SEPARATOR}${value}\n`, timeoutMs: TOOL_TIMEOUT_MS });
    },
    consoleConsume: async (topic, { count, timeoutMs = 5000 } = {}) => {
      const shown = ['print.partition=true', 'print.headers=true', 'print.key=true', `key.separator=${SEPARATOR}`];
      const formatter = [...shown, `headers.separator=,`].flatMap((property) => ['--property', property]);
      const end = [
        ...['--timeout-ms', String(timeoutMs)],
        ...(count === undefined ? [] : ['--max-messages', String(count)]),
      ];
      const args = [...server, '--topic', topic, '--from-beginning', ...formatter, ...end];
      const command = runtime.tool('org.apache.kafka.tools.consumer.ConsoleConsumer', args);
      const printed = await runCommand(command, { timeoutMs: TOOL_TIMEOUT_MS + timeoutMs });
      return printed
        .split('\n')
        .filter((line) => line.includes(SEPARATOR))
        .map(readConsoleLine);
    },
  };
}

function readConsoleLine(line: string): ConsoleRecord {
  const [partition = '', headers = '', key = '', ...value] = line.split(SEPARATOR);
  const orNull = (text: string) => (text === 'null' ? null : text);
  return {
    partition: Number(partition.replace('Partition:', '')),
    headers: headers === 'NO_HEADERS' ? '' : headers,
    key: orNull(key),
    value: orNull(value.join(SEPARATOR)),
  };
}

async function findRuntime(dir: string): Promise<Runtime> {
  if (!hasKafkaJars() && (await hasImage(IMAGE, { pull: true }))) {
    const java = (mainClass: string, args: readonly string[]) => javaCommand('/opt/kafka/libs', mainClass, args);
    return {
      inContainer: true,
      tool: (mainClass, args) => containerTool(IMAGE, dir, java(mainClass, args)),
      service: (mainClass, args) => containerService(IMAGE, dir, java(mainClass, args)),
    };
  }
  const jars = await kafkaJars();
  const java = (mainClass: string, args: readonly string[]) => javaCommand(jars, mainClass, args);
  return { inContainer: false, tool: java, service: java };
}

function javaCommand(jars: string, mainClass: string, args: readonly string[]): readonly string[] {
  return ['java', ...JVM_OPTIONS, ...LOG_OPTIONS, '-cp', `${jars}/*`, mainClass, ...args];
}

function properties(dir: string, port: number, controllerPort: number, options: KafkaOptions): string {
  const further = [
    ...(options.relayed ?? []).map((relayed, index) => ({
      name: `RELAYED${index}`,
      protocol: 'PLAINTEXT',
      ...relayed,
    })),
    ...(options.secured?.listeners ?? []).map((listener) => ({ ...listener, toldPort: listener.port })),
  ];
  const listed = (entry: (listener: (typeof further)[number]) => string) =>
    further.map((listener) => `,${entry(listener)}`).join('');
  const plain = `PLAINTEXT://${LOOPBACK}:${port}`;
  const settings: Record<string, string | number | boolean> = {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@${LOOPBACK}:${controllerPort}`,
    listeners: `${plain},CONTROLLER://${LOOPBACK}:${controllerPort}${listed((one) => `${one.name}://${LOOPBACK}:${one.port}`)}`,
    'advertised.listeners': `${plain}${listed((one) => `${one.name}://${LOOPBACK}:${one.toldPort}`)}`,
    'inter.broker.listener.name': 'PLAINTEXT',
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': `PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT${listed((one) => `${one.name}:${one.protocol}`)}`,
    'log.dirs': join(dir, 'data'),
    // One partition each: the first group and the first transaction need not wait for 50.
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 1,
    'group.initial.rebalance.delay.ms': 0,
    'num.partitions': options.partitions ?? 4,
    'auto.create.topics.enable': options.autoCreateTopics ?? true,
    'log.cleaner.dedupe.buffer.size': 16 * 1024 * 1024,
    // A killed broker may register again once its former session is over: not after 9 s.
    'broker.session.timeout.ms': 3000,
    'broker.heartbeat.interval.ms': 500,
    'controlled.shutdown.enable': false,
    ...options.secured?.settings,
  };
  if (options.maxMessageBytes !== undefined) {
    settings['message.max.bytes'] = options.maxMessageBytes;
    settings['replica.fetch.max.bytes'] = options.maxMessageBytes;
  }
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

/** Kafka's ids are 16 bytes in base64url; one that begins with a hyphen would read as an option. */
function clusterId(): string {
  const id = randomBytes(16).toString('base64url');
  return id.startsWith('-') ? clusterId() : id;
}

async function up(runtime: Runtime, config: string, dir: string, brokers: string): Promise<ServiceChild> {
  const command = runtime.service('kafka.Kafka', [config]);
  const child = startChild(command, { logFile: join(dir, 'log'), inContainer: runtime.inContainer });
  try {
    await serving(brokers, AbortSignal.any([child.ended, AbortSignal.timeout(START_TIMEOUT_MS)]));
    return child;
  } catch (cause) {
    await child.kill9();
    throw new Error(`Kafka did not start at ${brokers}:\n${child.logTail()}`, { cause });
  }
}

/** Waits until the brokers answer and groups have a coordinator, which a fresh broker makes only when asked. */
async function serving(brokers: string, signal: AbortSignal): Promise<void> {
  const port = Number(brokers.split(',')[0]?.split(':').at(-1));
  if (brokers.startsWith(LOOPBACK)) await waitForPort(port, signal);
  silenceNegativeTimeouts();
  const admin = new Kafka({
    brokers: brokers.split(','),
    logLevel: logLevel.NOTHING,
    retry: { retries: 0 },
  }).admin();
  for (;;) {
    try {
      await admin.connect();
      await admin.fetchOffsets({ groupId: 'flowops-test-warm-up' });
      break;
    } catch {
      signal.throwIfAborted();
      await sleep(50, undefined, { signal });
    }
  }
  await admin.disconnect();
}
