/**
 * Every plugin that is published somewhere, for reports: a registry folder with all its versions, a folder of sources
 * and bundles, or a plugin service. Runs nothing of them but what reading a source's manifest takes.
 */
import path from 'node:path';
import type { CliParts } from '@flowops/proto/cli.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import type { Settings } from '@flowops/proto/settings-reader.ts';
import { listPublished, type PublishedPlugin } from '@flowops/sdk/registry/list-published.ts';
import { isRegistryFolder, RegistryFolder } from '@flowops/sdk/registry/registry-folder.ts';
import { CommandHost } from './open-host.ts';
import { startCommandHost } from './start-host.ts';

export interface PublishedOptions {
  /** `--plugins`; absent: PLUGIN_DIR, else PLUGIN_SERVICE_ADDRESS. */
  readonly dir: string | undefined;
  readonly settings: Settings;
  readonly parts: CliParts;
  /** One line about what cannot be read. */
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** In the order of ids, then versions. */
export async function publishedPlugins(options: PublishedOptions): Promise<readonly PublishedPlugin[]> {
  const { PLUGIN_DIR, PLUGIN_SERVICE_ADDRESS } = options.settings.values;
  const dir = options.dir ?? PLUGIN_DIR;
  const plugins =
    dir === undefined ? await fromService(PLUGIN_SERVICE_ADDRESS, options) : await fromFolder(dir, options);
  return [...plugins].sort(
    (a, b) => compare(a.pluginId, b.pluginId) || compare(a.manifest.version, b.manifest.version),
  );
}

async function fromService(address: string | undefined, { say, signal }: PublishedOptions) {
  if (address === undefined) {
    throw new FlowopsError(
      'USAGE_INVALID',
      'which plugins? Name a folder with --plugins, or set PLUGIN_DIR or PLUGIN_SERVICE_ADDRESS',
    );
  }
  const listed = await listPublished(address, signal);
  if (!listed.ok) throw new FlowopsError('SANDBOX_UNAVAILABLE', listed.message);
  for (const line of listed.unreadable) say(`left out: ${line}`);
  return listed.plugins;
}

async function fromFolder(dir: string, options: PublishedOptions): Promise<readonly PublishedPlugin[]> {
  const isRegistry = await isRegistryFolder(dir).catch(() => false); // the other way says what is wrong with it
  return isRegistry ? await fromRegistry(dir, options) : await fromSources(dir, options);
}

async function fromRegistry(dir: string, { say }: PublishedOptions): Promise<PublishedPlugin[]> {
  const folder = new RegistryFolder(dir, (problem) => say(`left out: ${problem}`));
  const plugins: PublishedPlugin[] = [];
  for (const pluginId of await folder.pluginIds()) {
    for (const { version, digest, manifest } of await folder.versions(pluginId)) {
      const read = await folder.read(pluginId, version);
      const signature = read.kind === 'read' ? (read.files.signature ?? '') : '';
      plugins.push({ pluginId, digest, manifest, signature });
    }
  }
  return plugins;
}

async function fromSources(
  dir: string,
  { settings, parts, say, signal }: PublishedOptions,
): Promise<PublishedPlugin[]> {
  const host = new CommandHost(() => startCommandHost({ policy: { kind: 'developer' }, settings }));
  const source = await parts.openPluginFolder(dir, {
    cacheDir: path.join(settings.values.FLOWOPS_HOME, 'cache'),
    sandbox: () => host.open(),
    log: say,
  });
  try {
    const plugins: PublishedPlugin[] = [];
    for (const name of await source.names(signal)) {
      const resolved = await source.resolve(name, undefined, signal);
      if (!resolved.ok) {
        say(`left out: ${resolved.message}`);
        continue;
      }
      const { pluginId, digest, manifest } = resolved.plugin;
      const signature = await source.signature({ pluginId, version: manifest.version, digest });
      plugins.push({ pluginId, digest, manifest, signature: signature ?? '' });
    }
    return plugins;
  } finally {
    await source.close();
    await host.close();
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
