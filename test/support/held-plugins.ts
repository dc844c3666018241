/** A plugin service whose bundles a test can hold back: what is asked for while they are held waits until they are let go. */
import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { PluginJarResponseSchema, PluginMetadataSchema } from '@flowops/proto/plugin_service_pb.js';
import { status } from '@grpc/grpc-js';
import { startPluginService } from './plugin-service.ts';
import { Growing } from './service-growing.ts';

export interface HeldPlugins {
  /** `host:port`. */
  readonly address: string;
  /** The pluginId of every question for a bundle, as they came. */
  readonly asked: Growing<string>;
  /** From now on the bundle does not come. */
  hold(pluginId: string): void;
  release(pluginId: string): void;
  close(): Promise<void>;
}

export async function servePlugins(plugins: Readonly<Record<string, Uint8Array>>): Promise<HeldPlugins> {
  const asked = new Growing<string>();
  const held = new Map<string, PromiseWithResolvers<void>>();
  const release = (pluginId: string) => {
    held.get(pluginId)?.resolve();
    held.delete(pluginId);
  };
  const service = await startPluginService({
    getPluginMetadata: ({ request: { pluginId } }, callback) => {
      if (plugins[pluginId] === undefined) callback({ code: status.NOT_FOUND, details: `not found: ${pluginId}` });
      else callback(null, create(PluginMetadataSchema, { id: randomUUID(), pluginId, version: '1.0.0' }));
    },
    getPluginJar: async ({ request: { pluginId } }, callback) => {
      asked.push(pluginId);
      await held.get(pluginId)?.promise;
      callback(null, create(PluginJarResponseSchema, { jar: plugins[pluginId] ?? new Uint8Array() }));
    },
  });
  return {
    address: service.address,
    asked,
    hold: (pluginId) => held.set(pluginId, Promise.withResolvers()),
    release,
    close: async () => {
      for (const pluginId of [...held.keys()]) release(pluginId);
      await service.kill();
    },
  };
}
