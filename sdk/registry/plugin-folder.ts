/**
 * Plugins from a folder on this machine, served in this process: `--plugins DIR`, PLUGIN_DIR. A folder laid out as a
 * registry is served as one; any other is a folder of sources, bundles and plugin folders. Opens the one or the other;
 * both keep the bytes they resolved by digest, so that a run goes on with what it began with.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { PluginFolderOptions } from '@flowops/proto/cli.ts';
import { ContentStore } from '@flowops/proto/content-store.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import { isRegistryFolder, RegistryFolder } from './registry-folder.ts';
import { RegistryFolderSource } from './registry-folder-source.ts';
import { SourceFolderSource } from './source-folder-source.ts';

/** @throws FlowopsError CONFIG_INVALID when there is no such folder. */
export async function openPluginFolder(dir: string, options: PluginFolderOptions): Promise<PluginSource> {
  const status = await stat(dir).catch(() => undefined);
  if (status === undefined || !status.isDirectory()) {
    const problem = status === undefined ? 'does not exist' : 'is not a folder';
    throw new FlowopsError(
      'CONFIG_INVALID',
      `the plugin folder ${dir} ${problem}; name one with --plugins or PLUGIN_DIR`,
    );
  }
  const log = options.log ?? (() => {});
  const store = new ContentStore({
    dir: join(options.cacheDir, 'bundles', 'sha256'),
    onProblem: log,
    ...(options.pinned === undefined ? {} : { pinned: options.pinned }),
  });
  if (await isRegistryFolder(dir))
    return new RegistryFolderSource({ dir, folder: new RegistryFolder(dir, log), store });
  return new SourceFolderSource({ dir, store, cacheDir: options.cacheDir, sandbox: options.sandbox, log });
}
