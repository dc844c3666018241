/** The settings of a sandbox host: read once at start, frozen. A wrong one throws CONFIG_INVALID with its name. */
import { availableParallelism } from 'node:os';
import type { SettingValues } from '@flowops/proto/settings.ts';
import { type Environment, requireSettings } from '@flowops/proto/settings-reader.ts';

export interface SandboxConfig {
  /** FLOWOPS_HOME: what the host remembers of plugins is in its folder `sandbox`. */
  readonly home: string;
  /** Absolute, or relative to the working directory. */
  readonly policyFile: string | undefined;
  readonly developerPolicy: boolean;
  /** Worker processes at a time, at most. */
  readonly maxWorkers: number;
  readonly cores: number;
  /** Name or id of the image of step containers. */
  readonly image: string;
  /** Name or id of the image of worker containers, for where jails are refused. */
  readonly workerImage: string;
  readonly workerRuntime: 'runc' | 'runsc';
  /** Step containers at a time, at most. */
  readonly maxContainers: number;
  readonly containersAhead: number;
  /** As Docker's own tools read it; undefined = the usual socket. */
  readonly dockerHost: string | undefined;
  /** The folder of secrets. */
  readonly secretsDir: string | undefined;
  /** Secrets come over standard input instead (proto/secret-values.ts). */
  readonly secretsFromStdin: boolean;
  /** A CLI may debug plugins in it; no engine's host is ever started so. */
  readonly allowsDebug?: boolean;
  readonly leaseMs: number;
  readonly logLevel: string;
}

/** Of a host that another process started, with that one's flags. */
export async function readConfig(env: Environment, args: readonly string[]): Promise<SandboxConfig> {
  const { values } = await requireSettings({ env });
  return configOf(values, {
    dockerHost: env.DOCKER_HOST,
    developerPolicy: args.includes('--developer-policy'),
    secretsFromStdin: args.includes('--secrets-from-stdin'),
    allowsDebug: args.includes('--allow-debug'),
  });
}

export interface ConfigFlags {
  readonly dockerHost: string | undefined;
  readonly developerPolicy?: boolean;
  readonly secretsFromStdin?: boolean;
  readonly allowsDebug?: boolean;
}

export function configOf(values: SettingValues, flags: ConfigFlags): SandboxConfig {
  const { dockerHost, developerPolicy = false, secretsFromStdin = false, allowsDebug = false } = flags;
  const cores = availableParallelism();
  return Object.freeze({
    home: values.FLOWOPS_HOME,
    policyFile: values.SANDBOX_POLICY,
    developerPolicy,
    maxWorkers: values.SANDBOX_WORKERS ?? 2 * cores + 2,
    cores,
    image: values.SANDBOX_IMAGE,
    workerImage: values.SANDBOX_WORKER_IMAGE,
    workerRuntime: values.SANDBOX_WORKER_RUNTIME,
    maxContainers: values.SANDBOX_CONTAINERS ?? 4 * cores,
    containersAhead: values.SANDBOX_CONTAINERS_AHEAD,
    dockerHost,
    secretsDir: values.SECRETS_DIR,
    secretsFromStdin,
    allowsDebug,
    leaseMs: values.SANDBOX_LEASE_MS,
    logLevel: values.LOG_LEVEL,
  });
}
