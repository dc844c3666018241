/**
 * The one table of settings: name, kind, default, who uses it, what it is for. The reader (settings-reader.ts), the
 * messages, `flowops config` and docs/settings.md are all made from it.
 *
 * Names are the same in the environment, in the `--config` file and in the docs. A default is written as a person
 * would type it and goes through the same parser. `unavailable` names what this release lacks: a value that would
 * silently do nothing is refused at start, by name.
 */
import type { z } from 'zod';
import type { Setting } from './setting.ts';
import {
  choice,
  duration,
  filePath,
  hostPort,
  hostPorts,
  httpUrl,
  integer,
  milliseconds,
  multilineText,
  names,
  sandboxAddresses,
  text,
  topic,
} from './settings-parsers.ts';
import { REDIS_SETTINGS } from './settings-redis.ts';

export const SETTINGS = {
  KAFKA_BROKERS: {
    parse: hostPorts,
    kind: 'host:port, comma-separated',
    usedBy: ['engine'],
    about: 'The Kafka brokers to start from. Needed by the service together with REDIS_URL.',
  },
  KAFKA_GROUP_ID: {
    parse: text,
    kind: 'text',
    default: 'execution-engine',
    usedBy: ['engine'],
    about: 'The consumer group that all engines of one deployment share.',
  },
  KAFKA_COMMANDS_TOPIC: {
    parse: topic,
    kind: 'topic',
    default: 'execution.commands',
    usedBy: ['engine'],
    about: 'Where commands are read.',
  },
  KAFKA_STATUS_TOPIC: {
    parse: topic,
    kind: 'topic',
    default: 'execution.status',
    usedBy: ['engine'],
    about: 'Where flow and step statuses are published.',
  },
  KAFKA_OUTCOMES_TOPIC: {
    parse: topic,
    kind: 'topic',
    default: 'execution.outcomes',
    usedBy: ['engine'],
    about: 'Where the answer to each command is published.',
  },
  KAFKA_DLQ_TOPIC: {
    parse: topic,
    kind: 'topic',
    default: 'execution.commands.dlq',
    usedBy: ['engine'],
    about: 'Where commands go that cannot be read.',
  },
  KAFKA_STATUS_ENCODING: {
    parse: choice(['object', 'string']),
    kind: 'object or string',
    default: 'object',
    usedBy: ['engine'],
    about: 'string puts the JSON once more inside a JSON string, for readers that expect the former bytes.',
  },
  KAFKA_PUBLISH_FENCE: {
    parse: choice(['heartbeat', 'transaction']),
    kind: 'heartbeat or transaction',
    default: 'heartbeat',
    usedBy: ['engine'],
    about:
      'What keeps a former owner of a run from publishing: its own look at the group, or Kafka transactions, which cost time with every event.',
  },
  KAFKA_TLS_CA: {
    parse: multilineText,
    kind: 'PEM, or system',
    usedBy: ['engine'],
    about:
      'Certificates of the authority that signed the brokers; system: those that Node.js trusts. Any KAFKA_TLS_ setting turns TLS on.',
  },
  KAFKA_TLS_CERT: {
    parse: multilineText,
    kind: 'PEM',
    usedBy: ['engine'],
    about: 'The certificate the engine shows to the brokers. Goes together with KAFKA_TLS_KEY.',
  },
  KAFKA_TLS_KEY: {
    parse: multilineText,
    kind: 'PEM',
    secret: 'value',
    usedBy: ['engine'],
    about: 'The key of KAFKA_TLS_CERT.',
  },
  KAFKA_SASL_MECHANISM: {
    parse: choice(['plain', 'scram-sha-256', 'scram-sha-512']),
    kind: 'plain, scram-sha-256 or scram-sha-512',
    usedBy: ['engine'],
    about: 'How the engine authenticates to the brokers. Without TLS, plain shows the password to the network.',
  },
  KAFKA_SASL_USERNAME: {
    parse: text,
    kind: 'text',
    usedBy: ['engine'],
    about: 'The user name of KAFKA_SASL_MECHANISM.',
  },
  KAFKA_SASL_PASSWORD: {
    parse: text,
    kind: 'text',
    secret: 'value',
    usedBy: ['engine'],
    about: 'The password of KAFKA_SASL_MECHANISM.',
  },
  ...REDIS_SETTINGS,
  FLOWOPS_HOME: {
    parse: filePath,
    kind: 'path',
    default: './.flowops',
    usedBy: ['engine', 'sandbox', 'sdk'],
    about: 'The folder of the embedded database, the bundle cache and sockets. One engine at a time owns it.',
  },
  PLUGIN_SERVICE_ADDRESS: {
    parse: hostPort,
    kind: 'host:port',
    usedBy: ['engine'],
    about: 'The plugin service (gRPC) that bundles are fetched from.',
  },
  PLUGIN_DIR: {
    parse: filePath,
    kind: 'path',
    usedBy: ['engine'],
    about: 'A folder of plugins that is served in-process instead of a plugin service.',
  },
  SANDBOX_URL: {
    parse: sandboxAddresses,
    kind: 'unix:/path or tls://host:port, comma-separated',
    usedBy: ['engine'],
    about:
      'Sandbox hosts to use instead of a child process of the engine: all that can be reached, the least loaded first.',
  },
  SANDBOX_LISTEN: {
    parse: sandboxAddresses,
    kind: 'unix:/path or tls://host:port, comma-separated',
    usedBy: ['sandbox'],
    about: 'Where `flowops sandbox serve` listens. The folder of a unix socket must belong to its user alone.',
  },
  SANDBOX_TLS_CA: {
    parse: multilineText,
    kind: 'PEM',
    usedBy: ['engine', 'sandbox'],
    about: 'Certificates of the authority that signed those of engines and sandbox hosts. Needed for tls:// addresses.',
  },
  SANDBOX_TLS_CERT: {
    parse: multilineText,
    kind: 'PEM',
    usedBy: ['engine', 'sandbox'],
    about: 'The certificate that this side shows.',
  },
  SANDBOX_TLS_KEY: {
    parse: multilineText,
    kind: 'PEM',
    secret: 'value',
    usedBy: ['engine', 'sandbox'],
    about: 'The key of SANDBOX_TLS_CERT.',
  },
  SANDBOX_CLIENTS: {
    parse: names,
    kind: 'names, comma-separated',
    usedBy: ['sandbox'],
    about: 'Names in the certificates of the engines that may connect over TLS; a host that listens there needs one.',
  },
  SANDBOX_POLICY: {
    parse: filePath,
    kind: 'path',
    whenUnset: 'the strict policy',
    usedBy: ['sandbox'],
    about: 'The policy file: which plugin runs where, with what limits and grants.',
  },
  SANDBOX_WORKERS: {
    parse: integer({ min: 1, max: 256 }),
    kind: 'whole number',
    whenUnset: 'two for each core, and two',
    usedBy: ['sandbox'],
    about: 'How many isolate worker processes run side by side at most; they are started as they are needed.',
  },
  SANDBOX_IMAGE: {
    parse: text,
    kind: 'image name or sha256:…',
    default: 'flowops/step-runner:latest',
    usedBy: ['sandbox'],
    about: 'The image of step containers (Dockerfile.sandbox, target step-runner). Never pulled; the host uses its id.',
  },
  SANDBOX_WORKER_IMAGE: {
    parse: text,
    kind: 'image name or sha256:…',
    default: 'flowops/isolate-worker:latest',
    usedBy: ['sandbox'],
    about:
      'The image of isolate workers where namespaces are refused (Dockerfile.sandbox, target isolate-worker). Never pulled.',
  },
  SANDBOX_WORKER_RUNTIME: {
    parse: choice(['runc', 'runsc']),
    kind: 'runc or runsc',
    default: 'runc',
    usedBy: ['sandbox'],
    about: 'What containers of isolate workers run under: runc, or runsc (gVisor) where Docker has it.',
  },
  SANDBOX_CONTAINERS: {
    parse: integer({ min: 1, max: 1024 }),
    kind: 'whole number',
    whenUnset: 'four for each core',
    usedBy: ['sandbox'],
    about: 'How many step containers there are at most at one time, those that wait for a step included.',
  },
  SANDBOX_CONTAINERS_AHEAD: {
    parse: integer({ min: 0, max: 256 }),
    kind: 'whole number',
    default: '2',
    usedBy: ['sandbox'],
    about: 'How many containers wait, started, for the next steps of each image and set of limits that is in use.',
  },
  SANDBOX_LEASE_MS: {
    parse: milliseconds({ min: '1s', max: '10m' }),
    kind: 'milliseconds',
    default: '15000',
    usedBy: ['engine', 'sandbox'],
    about: 'How long a sandbox host keeps the attempts of an engine that it hears nothing from.',
  },
  SECRETS_DIR: {
    parse: filePath,
    kind: 'path',
    usedBy: ['sandbox'],
    about: 'A folder with one file for each secret, read by the sandbox host only, each time a plugin asks.',
  },
  HTTP_HOST: {
    parse: text,
    kind: 'host',
    default: '127.0.0.1',
    usedBy: ['engine'],
    about: 'The address the HTTP server listens on.',
  },
  HTTP_PORT: {
    parse: integer({ min: 0, max: 65_535 }),
    kind: 'port',
    default: '8080',
    usedBy: ['engine'],
    about: 'The port the HTTP server listens on; 0 takes a free one.',
  },
  RUN_RETENTION: {
    parse: duration({ min: '1s', max: '3650d' }),
    kind: 'duration',
    default: '7d',
    usedBy: ['engine'],
    about: 'How long a finished run is kept after its last event was acknowledged.',
  },
  STOP_GRACE_MS: {
    parse: milliseconds({ min: '0ms', max: '10m' }),
    kind: 'milliseconds',
    default: '2000',
    usedBy: ['engine', 'sandbox'],
    about: 'How long a step that was told to stop may take before it is killed.',
  },
  DRAIN_MS: {
    parse: milliseconds({ min: '0ms', max: '1h' }),
    kind: 'milliseconds',
    default: '30000',
    usedBy: ['engine', 'sandbox'],
    about: 'How long running steps may take to finish when the engine, or a sandbox host of its own, is told to end.',
  },
  LOG_STORE: {
    parse: choice(['store', 'none']),
    kind: 'store or none',
    default: 'store',
    usedBy: ['engine'],
    about: 'Whether the log lines of steps are kept with the run.',
    unavailable: { feature: 'keeping the log lines of steps with the run', except: ['none'] },
  },
  LOG_LEVEL: {
    parse: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    kind: 'trace, debug, info, warn, error, fatal or silent',
    default: 'info',
    usedBy: ['engine', 'sandbox', 'sdk'],
    about: 'The least severe line that is logged.',
  },
  STATE_FORMAT: {
    parse: integer({ min: 1, max: 2 }).transform((format): 1 | 2 => (format === 2 ? 2 : 1)),
    kind: '1 or 2',
    default: '1',
    usedBy: ['engine'],
    about:
      'The format in which new runs are written; both are read. 1: the release before can go on with them. 2: also what a run must remember of crashes and unproven ends across restarts of the engine.',
  },
  FLOWOPS_SERVER: {
    parse: httpUrl,
    kind: 'URL',
    usedBy: ['engine'],
    about: 'The engine that `flowops runs` and `flowops dlq` speak to.',
    unavailable: { feature: 'flowops runs and flowops dlq' },
  },
  FLOWOPS_TOKEN: {
    parse: text,
    kind: 'text',
    secret: 'value',
    usedBy: ['engine'],
    about: 'The token shown to FLOWOPS_SERVER.',
    unavailable: { feature: 'flowops runs and flowops dlq' },
  },
  FLOWOPS_SIGNING_KEY: {
    parse: multilineText,
    kind: 'PEM',
    secret: 'value',
    usedBy: ['sdk'],
    about: 'The key that `flowops plugin sign` signs with when no `--key` is given: ed25519, PKCS#8.',
  },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof SETTINGS;

type ValueOf<S extends Setting> = S extends { readonly default: string }
  ? z.output<S['parse']>
  : z.output<S['parse']> | undefined;

/** The typed value of every setting; undefined only where the table has no default. Durations are milliseconds. */
export type SettingValues = { readonly [Name in SettingName]: ValueOf<(typeof SETTINGS)[Name]> };

/** The names in the order of the table. */
export const SETTING_NAMES: readonly SettingName[] = Object.keys(SETTINGS).filter(isSettingName);

export function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(SETTINGS, name);
}

export function settingOf(name: SettingName): Setting {
  return SETTINGS[name];
}
