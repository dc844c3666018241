/** The sandbox hosts that the settings name: those of SANDBOX_URL, or one of our own. */
import { resolve } from 'node:path';
import { readTlsIdentity } from '@flowops/proto/sandbox-address.ts';
import type { SettingName } from '@flowops/proto/settings.ts';
import type { Settings } from '@flowops/proto/settings-reader.ts';
import type { Log } from '../log.ts';
import type { EngineSandboxes } from './engine-sandboxes.ts';
import { LocalSandboxes } from './local-sandboxes.ts';
import { RemoteSandboxes } from './remote-sandboxes.ts';

/** A service starts with hosts that start with it; later ones are used when they come. */
const FIRST_HOST_MS = 10_000;
/** Of a host, and read by nobody where the hosts run on their own. */
const HOST_SETTINGS: readonly SettingName[] = [
  'SANDBOX_POLICY',
  'SANDBOX_WORKERS',
  'SANDBOX_IMAGE',
  'SANDBOX_WORKER_IMAGE',
  'SANDBOX_WORKER_RUNTIME',
  'SANDBOX_CONTAINERS',
  'SANDBOX_CONTAINERS_AHEAD',
  'SECRETS_DIR',
];

export interface OpenSandboxesOptions {
  readonly settings: Settings;
  /** FLOWOPS_HOME, absolute. */
  readonly home: string;
  /** Whether this engine still stands by its attempts: asked by shared hosts, several times in a lease. */
  readonly vouches: () => boolean;
  readonly log: Log;
}

/** @throws FlowopsError CONFIG_INVALID for certificates that cannot be used; what the start of a local host fails with. */
export async function openSandboxes({ settings, home, vouches, log }: OpenSandboxesOptions): Promise<EngineSandboxes> {
  const { values } = settings;
  const { SANDBOX_URL: addresses, SANDBOX_POLICY, LOG_LEVEL } = values;
  const instance = `engine-${process.pid}`;
  if (addresses === undefined) {
    return LocalSandboxes.start({
      role: 'engine',
      instance,
      home,
      env: {
        ...process.env,
        ...settings.given,
        LOG_LEVEL,
        SANDBOX_POLICY: SANDBOX_POLICY === undefined ? undefined : resolve(SANDBOX_POLICY),
      },
      log,
    });
  }
  const idle = HOST_SETTINGS.filter((name) => settings.given[name] !== undefined);
  if (idle.length > 0) {
    log.warn(
      { settings: idle },
      'these settings are those of the sandbox hosts, and SANDBOX_URL names hosts that have their own',
    );
  }
  const needsTls = addresses.find((address) => address.startsWith('tls:'));
  const identity = needsTls === undefined ? undefined : readTlsIdentity(values, `SANDBOX_URL ${needsTls}`);
  const { SANDBOX_LEASE_MS: leaseMs } = values;
  const remote = new RemoteSandboxes({ addresses, identity, instance, home, leaseMs, vouches, log });
  await remote.firstHost(FIRST_HOST_MS);
  return remote;
}
