/** Which plugins a command uses: `--plugins`, PLUGIN_DIR, PLUGIN_SERVICE_ADDRESS, the folder of the flow file. */
import { dirname } from 'node:path';
import type { SettingValues } from '@flowops/proto/settings.ts';
import type { EngineOptions } from '../embedded/api.ts';

export interface PluginChoice {
  /** `--plugins`. */
  readonly dir?: string | undefined;
  readonly flowFile?: string | undefined;
  readonly settings: Pick<SettingValues, 'PLUGIN_DIR' | 'PLUGIN_SERVICE_ADDRESS'>;
}

/** The first that is there. */
export function choosePlugins({ dir, flowFile, settings }: PluginChoice): EngineOptions['plugins'] {
  const folder = dir ?? settings.PLUGIN_DIR;
  if (folder === undefined && settings.PLUGIN_SERVICE_ADDRESS !== undefined) {
    return { registry: settings.PLUGIN_SERVICE_ADDRESS };
  }
  return folder ?? dirname(flowFile ?? '.');
}
