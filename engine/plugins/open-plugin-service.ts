/** The plugin service with its cache, as an engine or a command opens it. */
import { join } from 'node:path';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import type { Log } from '../log.ts';
import { BundleCache } from './bundle-cache.ts';
import { PluginServiceSource } from './plugin-service-source.ts';

export interface OpenPluginServiceOptions {
  /** PLUGIN_SERVICE_ADDRESS, host:port. */
  readonly address: string;
  /** `<FLOWOPS_HOME>/cache`. */
  readonly cacheDir: string;
  readonly log: Log;
  /** Digests that unfinished runs pin. */
  readonly pinned?: () => Promise<ReadonlySet<string>>;
}

export function openPluginService({ address, cacheDir, log, pinned }: OpenPluginServiceOptions): PluginSource {
  const onProblem = (message: string) => log.warn({ address }, message);
  const cache = new BundleCache({
    dir: join(cacheDir, 'bundles'),
    onProblem,
    ...(pinned === undefined ? {} : { pinned }),
  });
  return new PluginServiceSource({ address, cache, cacheDir, onProblem });
}
