/** The contract of PluginSource against a registry over gRPC, an old service, a registry folder and a source folder. */
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleCache } from '@flowops/engine/plugins/bundle-cache.ts';
import { PluginServiceSource } from '@flowops/engine/plugins/plugin-service-source.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { readBundleManifest } from '@flowops/proto/manifest.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import { openPluginFolder } from '@flowops/sdk/registry/plugin-folder.ts';
import { publishBundle } from '@flowops/sdk/registry/publish-bundle.ts';
import { RegistryFolder } from '@flowops/sdk/registry/registry-folder.ts';
import { serveRegistry } from '@flowops/sdk/registry/registry-server.ts';
import { withdrawPlugin } from '@flowops/sdk/registry/withdraw-plugin.ts';
import { describe } from 'vitest';
import { scratchFolder } from '../services/scratch.ts';
import { oldService, startPluginService } from '../support/plugin-service.ts';
import type { SourceTraits } from './plugin-source.ts';
import { pluginSourceContract } from './plugin-source.ts';

/** All that a source can do. */
const FULL: SourceTraits = {
  keepsOldVersions: true,
  canList: true,
  hasOwnIds: true,
  knowsReleases: true,
  canWithdraw: true,
  keepsSignatures: true,
};

const noSandbox = () => Promise.reject(new Error('a bundle needs no sandbox to be read'));

function overGrpc(address: string, cacheDir: string): PluginServiceSource {
  return new PluginServiceSource({ address, cacheDir, cache: new BundleCache({ dir: join(cacheDir, 'bundles') }) });
}

/** Without the member when there is none. */
function given({ signature }: { signature: string | undefined }): { signature?: string } {
  return signature === undefined ? {} : { signature };
}

function versionOf(bytes: Uint8Array): string {
  const read = readBundleManifest(bytes);
  if (!read.ok) throw new Error(read.problem);
  return read.manifest.version;
}

describe('PluginServiceSource against our registry', () => {
  pluginSourceContract(async () => {
    const cacheDir = scratchFolder();
    const registry = await serveRegistry({ dir: scratchFolder(), port: 0 });
    const source = overGrpc(registry.address, cacheDir);
    return {
      source,
      reopen: async () => overGrpc(registry.address, cacheDir),
      elsewhere: async () => overGrpc(registry.address, scratchFolder()),
      publish: async (pluginId, bundle, signature) => {
        const published = await publishBundle({
          registry: registry.address,
          bundle,
          pluginId,
          takeOver: true,
          ...given({ signature }),
        });
        if (!published.ok) throw new Error(published.message);
      },
      withdraw: async (pluginId, version, options) => {
        const done = await withdrawPlugin({ registry: registry.address, pluginId, version, ...options });
        if (!done.ok) throw new Error(done.message);
      },
      close: async () => {
        await source.close();
        await registry.close();
      },
    };
  }, FULL);
});

describe('PluginServiceSource against a service that knows only the two old calls', () => {
  pluginSourceContract(
    async () => {
      const cacheDir = scratchFolder();
      const old = oldService([]);
      const server = await startPluginService(old.handlers);
      const source = overGrpc(server.address, cacheDir);
      return {
        source,
        reopen: async () => overGrpc(server.address, cacheDir),
        elsewhere: async () => overGrpc(server.address, scratchFolder()),
        publish: async (pluginId, jar) => {
          old.versions.push({ id: randomUUID(), pluginId, version: versionOf(jar), jar });
        },
        close: async () => {
          await source.close();
          await server.kill();
        },
      };
    },
    // After a newer version came, an id that was seen still names the older; one never seen cannot be asked for.
    {
      keepsOldVersions: false,
      canList: false,
      hasOwnIds: true,
      knowsReleases: false,
      canWithdraw: false,
      keepsSignatures: false,
    },
  );
});

describe('a registry folder in this process', () => {
  pluginSourceContract(async () => {
    const [dir, cacheDir] = [scratchFolder(), scratchFolder()];
    const registry = new RegistryFolder(dir);
    const publish = async (pluginId: string, bytes: Uint8Array, signature?: string) => {
      const published = await registry.publish({ pluginId, bytes, ...given({ signature }) });
      if (!('version' in published)) throw new Error(published.message);
    };
    // A folder is recognised by what is in it.
    await publish('core.hello', Buffer.from('//! flowops-plugin {"name":"core.hello","version":"0.0.1-0"}\n'));
    const open = (): Promise<PluginSource> => openPluginFolder(dir, { cacheDir, sandbox: noSandbox });
    const source = await open();
    return {
      source,
      reopen: open,
      elsewhere: () => openPluginFolder(dir, { cacheDir: scratchFolder(), sandbox: noSandbox }),
      publish,
      withdraw: async (pluginId, version, options) => {
        const done = await registry.withdraw(pluginId, version, options);
        if (done.kind !== 'found') throw new Error(done.message);
      },
      close: () => source.close(),
    };
  }, FULL);
});

describe('a folder of sources and bundles', () => {
  pluginSourceContract(
    async () => {
      const [dir, cacheDir] = [scratchFolder(), scratchFolder()];
      const open = (): Promise<PluginSource> => openPluginFolder(dir, { cacheDir, sandbox: noSandbox });
      const source = await open();
      return {
        source,
        reopen: open,
        elsewhere: () => openPluginFolder(dir, { cacheDir: scratchFolder(), sandbox: noSandbox }),
        publish: async (_pluginId, bytes, signature) => {
          const file = join(dir, `${digestOf(bytes).slice(7, 15)}.js`);
          if (signature !== undefined) await writeFile(`${file}.sig`, signature);
          await writeFile(file, bytes);
        },
        close: () => source.close(),
      };
    },
    { ...FULL, hasOwnIds: false, canWithdraw: false },
  );
});
