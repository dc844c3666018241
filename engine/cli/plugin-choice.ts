/** Where the plugins of a command come from: a folder served in-process, or the plugin service. */
import { dirname, join, resolve } from 'node:path';
import type { CliParts, PluginFolderOptions } from '@flowops/proto/cli.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import type { Log } from '../log.ts';

export interface PluginChoice {
  /** `--plugins`. */
  readonly dir?: string;
  readonly flowFile?: string;
  readonly settings: {
    readonly PLUGIN_DIR?: string | undefined;
    readonly PLUGIN_SERVICE_ADDRESS?: string | undefined;
    readonly FLOWOPS_HOME: string;
  };
  readonly sandbox: PluginFolderOptions['sandbox'];
  readonly parts: CliParts;
  readonly log: Log;
}

/** `--plugins`, PLUGIN_DIR, PLUGIN_SERVICE_ADDRESS, the folder of the flow file: the first that is there. */
export async function openPlugins(choice: PluginChoice): Promise<PluginSource> {
  const { settings, parts, log, sandbox } = choice;
  const cacheDir = join(resolve(settings.FLOWOPS_HOME), 'cache');
  const dir = choice.dir ?? settings.PLUGIN_DIR;
  if (dir === undefined && settings.PLUGIN_SERVICE_ADDRESS !== undefined) {
    const { openPluginService } = await import('../plugins/open-plugin-service.ts');
    return openPluginService({ address: settings.PLUGIN_SERVICE_ADDRESS, cacheDir, log });
  }
  const folder = dir ?? dirname(choice.flowFile ?? '.');
  return parts.openPluginFolder(folder, { cacheDir, sandbox });
}
