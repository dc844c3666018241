/** The settings of a sandbox host: read once at start, frozen. A wrong one throws CONFIG_INVALID with its name. */
import { availableParallelism } from 'node:os';
import { type Environment, requireSettings } from '@flowops/proto/settings-reader.ts';

export interface SandboxConfig {
  /** Absolute, or relative to the working directory. */
  readonly policyFile: string | undefined;
  readonly developerPolicy: boolean;
  /** Worker processes at a time, at most. */
  readonly maxWorkers: number;
  readonly cores: number;
  readonly leaseMs: number;
  readonly logLevel: string;
}

export async function readConfig(env: Environment, args: readonly string[]): Promise<SandboxConfig> {
  const { values } = await requireSettings({ env });
  const cores = availableParallelism();
  return Object.freeze({
    policyFile: values.SANDBOX_POLICY,
    developerPolicy: args.includes('--developer-policy'),
    maxWorkers: values.SANDBOX_WORKERS ?? 2 * cores + 2,
    cores,
    leaseMs: values.SANDBOX_LEASE_MS,
    logLevel: values.LOG_LEVEL,
  });
}
