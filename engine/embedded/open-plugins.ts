/** Opens what an embedded engine, or a command, is told as its plugins: a folder, a registry, or a source as it is. */
import { join } from 'node:path';
import type { CliParts, PluginFolderOptions } from '@flowops/proto/cli.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import type { Log } from '../log.ts';
import type { EngineOptions } from './api.ts';

export interface OpenPluginsOptions {
  /** FLOWOPS_HOME, absolute. */
  readonly home: string;
  /** Knows how to build plugins: the engine does not. */
  readonly openPluginFolder: CliParts['openPluginFolder'];
  readonly sandbox: PluginFolderOptions['sandbox'];
  readonly log: Log;
  /** Digests that unfinished runs pin. */
  readonly pinned?: () => Promise<ReadonlySet<string>>;
}

const HOST_AND_PORT = /^(?:\[[^\]]+\]|[^:/\s]+):\d{1,5}$/;

/** @throws FlowopsError CONFIG_INVALID */
export async function openPlugins(
  plugins: EngineOptions['plugins'],
  options: OpenPluginsOptions,
): Promise<PluginSource> {
  const { home, openPluginFolder, sandbox, log } = options;
  const cacheDir = join(home, 'cache');
  const pinned = options.pinned === undefined ? {} : { pinned: options.pinned };
  if (typeof plugins === 'string') {
    return openPluginFolder(plugins, { cacheDir, sandbox, ...pinned, log: (message) => log.warn({}, message) });
  }
  if (!('registry' in plugins)) return plugins;
  const { registry: address } = plugins;
  if (!HOST_AND_PORT.test(address)) {
    throw new FlowopsError('CONFIG_INVALID', `plugins.registry must be host:port, not ${JSON.stringify(address)}`);
  }
  const { openPluginService } = await import('../plugins/open-plugin-service.ts');
  return openPluginService({ address, cacheDir, log, ...pinned });
}
