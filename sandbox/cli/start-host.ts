/** Starts the sandbox host of a command as the engine does, and turns its log into lines for a person. */
import { hostLog } from '@flowops/proto/host-log.ts';
import { startHostProcess } from '@flowops/proto/host-process.ts';
import type { Settings } from '@flowops/proto/settings-reader.ts';
import type { OpenedSandbox } from '@flowops/sdk/build/build-result.ts';
import type { HostPolicy } from './open-host.ts';

export interface CommandHostOptions {
  readonly policy: HostPolicy;
  readonly settings: Settings;
  /** They stand in for SECRETS_DIR. */
  readonly secrets?: ReadonlyMap<string, string> | undefined;
  readonly isDebugged?: boolean;
}

export async function startCommandHost(options: CommandHostOptions): Promise<OpenedSandbox> {
  const { policy, secrets, isDebugged = false } = options;
  const { values, sources } = options.settings;
  const { FLOWOPS_HOME, SANDBOX_WORKERS, LOG_LEVEL, SECRETS_DIR } = values;
  return await startHostProcess({
    role: 'cli',
    instance: `cli-${process.pid}`,
    policy,
    ...(secrets === undefined ? {} : { secrets }),
    ...(isDebugged ? { allowDebug: true } : {}),
    env: {
      ...process.env,
      FLOWOPS_HOME,
      ...(SANDBOX_WORKERS === undefined ? {} : { SANDBOX_WORKERS: String(SANDBOX_WORKERS) }),
      ...(SECRETS_DIR === undefined ? {} : { SECRETS_DIR }),
      // What a service logs on its way is no news to the person in front of it, unless asked for.
      LOG_LEVEL: sources.LOG_LEVEL.from === 'default' ? 'warn' : LOG_LEVEL,
    },
    onLog: hostLog((line) => process.stderr.write(`${line}\n`)),
  });
}
