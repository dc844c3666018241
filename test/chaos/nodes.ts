/**
 * The processes of a scenario and the ways between them: engines with sandbox hosts of their own, or hosts that all of
 * them share, each with its settings; relays on the way to shared hosts where the scenario breaks that.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TopicNames } from '../support/service-topics.ts';
import { type Ground, MAX_ENGINES } from './ground.ts';
import { ProcessNode } from './process-node.ts';
import { Relay } from './relay.ts';
import type { Scenario } from './scenario.ts';
import { policyFor } from './work-plugin.ts';

/** Isolate workers of a sandbox host: few, so that three engines fit on a small machine. */
const WORKERS = '2';
const ENGINE_READY = '"msg":"the engine is ready"';
const HOST_READY = '"msg":"the sandbox host is ready"';

export interface NodesOptions {
  readonly scenario: Scenario;
  readonly ground: Ground;
  readonly topics: TopicNames;
  readonly redisUrl: string;
  /** For homes, sockets and the policy. */
  readonly folder: string;
  readonly onUnexpectedEnd: (text: string) => void;
}

export interface Nodes {
  readonly engines: readonly ProcessNode[];
  /** Those that all engines share. */
  readonly hosts: readonly ProcessNode[];
  /** By engine, then by shared host: the network between them. Empty where they are reached directly. */
  readonly hostRelays: readonly (readonly Relay[])[];
}

/** Starts nothing but the relays. */
export async function makeNodes(options: NodesOptions): Promise<Nodes> {
  const { scenario, ground, folder } = options;
  const policy = join(folder, 'policy.yaml');
  writeFileSync(policy, policyFor(ground.effects.place));
  const sandbox = { SANDBOX_POLICY: policy, SANDBOX_WORKERS: WORKERS };
  const hosts = numbers(scenario.hosts ?? 0).map((host) => makeHost(host, sandbox, options));
  const engineNumbers = numbers(scenario.engines ?? MAX_ENGINES);
  const hostRelays = await Promise.all(
    scenario.isRelayed === true ? engineNumbers.map((engine) => openHostRelays(engine, hosts.length, folder)) : [],
  );
  const engines = engineNumbers.map((engine) => {
    const addresses = hosts.map((_, host) => {
      const isRelayed = hostRelays[engine]?.[host] !== undefined;
      return `unix:${isRelayed ? relaySocket(folder, engine, host) : hostSocket(folder, host)}`;
    });
    return makeEngine(engine, hosts.length === 0 ? sandbox : { SANDBOX_URL: addresses.join(',') }, options);
  });
  return { engines, hosts, hostRelays };
}

type Settings = Readonly<Record<string, string>>;

function makeEngine(index: number, sandbox: Settings, options: NodesOptions): ProcessNode {
  const { scenario, ground, topics, folder, onUnexpectedEnd } = options;
  const relays = scenario.isRelayed === true ? ground.relays[index] : undefined;
  const redisUrl = new URL(options.redisUrl);
  if (relays !== undefined) redisUrl.port = String(relays.redis.port);
  return new ProcessNode({
    name: `engine ${index + 1}`,
    args: ['engine'],
    ready: ENGINE_READY,
    folder: join(folder, `engine-${index + 1}`),
    env: {
      KAFKA_BROKERS: relays === undefined ? ground.kafka.brokers : `127.0.0.1:${relays.kafka.port}`,
      KAFKA_GROUP_ID: topics.commands,
      KAFKA_COMMANDS_TOPIC: topics.commands,
      KAFKA_STATUS_TOPIC: topics.status,
      KAFKA_OUTCOMES_TOPIC: topics.outcomes,
      KAFKA_DLQ_TOPIC: topics.deadLetters,
      REDIS_URL: redisUrl.href,
      PLUGIN_SERVICE_ADDRESS: ground.registry.address,
      HTTP_PORT: '0',
      ...sandbox,
      ...scenario.env,
    },
    onUnexpectedEnd,
  });
}

function makeHost(index: number, sandbox: Settings, { scenario, folder, onUnexpectedEnd }: NodesOptions): ProcessNode {
  return new ProcessNode({
    name: `host ${index + 1}`,
    args: ['sandbox', 'serve'],
    ready: HOST_READY,
    folder: join(folder, `host-${index + 1}`),
    env: { ...sandbox, SANDBOX_LISTEN: `unix:${hostSocket(folder, index)}`, ...scenario.env },
    onUnexpectedEnd,
  });
}

function openHostRelays(engine: number, hosts: number, folder: string): Promise<readonly Relay[]> {
  const open = async (host: number) => {
    const relay = await Relay.open(relaySocket(folder, engine, host));
    relay.leadTo(hostSocket(folder, host));
    return relay;
  };
  return Promise.all(numbers(hosts).map(open));
}

function hostSocket(folder: string, host: number): string {
  return join(folder, `host-${host + 1}`, 'run', 'sandbox.sock');
}

function relaySocket(folder: string, engine: number, host: number): string {
  return join(folder, `way-${engine + 1}-${host + 1}.sock`);
}

function numbers(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index);
}
