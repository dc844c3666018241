/**
 * A plugin service written by hand for tests, not ours: it knows exactly the calls that it is given, as an older or a
 * broken server does, and counts them.
 */
import { create } from '@bufbuild/protobuf';
import type { GrpcHandlers } from '@flowops/proto/grpc-service.ts';
import { grpcMethods } from '@flowops/proto/grpc-service.ts';
import type { PluginMetadata } from '@flowops/proto/plugin_service_pb.js';
import { PluginJarResponseSchema, PluginMetadataSchema, PluginService } from '@flowops/proto/plugin_service_pb.js';
import type { ServiceDefinition } from '@grpc/grpc-js';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';

type Handlers = GrpcHandlers<(typeof PluginService)['method']>;

export interface TestPluginService {
  readonly address: string;
  /** Cuts every connection at once, as a killed process does. */
  kill(): Promise<void>;
}

export async function startPluginService(handlers: Partial<Handlers>, port = 0): Promise<TestPluginService> {
  const methods: Record<string, ServiceDefinition[string]> = {};
  for (const [name, method] of Object.entries(grpcMethods(PluginService))) {
    if (name in handlers) methods[name] = method;
  }
  const server = new Server({ 'grpc.max_send_message_length': -1 });
  if (Object.keys(methods).length > 0) server.addService(methods, { ...handlers });
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, found) =>
      error === null ? resolve(found) : reject(error),
    );
  });
  return {
    address: `127.0.0.1:${bound}`,
    kill: async () => server.forceShutdown(),
  };
}

export interface OldVersion {
  readonly id: string;
  readonly pluginId: string;
  readonly version: string;
  readonly jar: Uint8Array;
}

export interface OldService {
  /** The last of a plugin is its latest. */
  readonly versions: OldVersion[];
  readonly asked: { call: 'metadata' | 'jar'; pluginId: string; id: string }[];
  readonly handlers: Partial<Handlers>;
}

/** The two calls as the existing service has them. `strict`: the id is parsed as a UUID, and so fails when it is empty. */
export function oldService(versions: OldVersion[], options: { strict: boolean } = { strict: false }): OldService {
  const asked: OldService['asked'] = [];
  const find = (pluginId: string, id: string): OldVersion | { code: status; details: string } => {
    if (options.strict && !/^[0-9a-f-]{36}$/i.test(id)) {
      return { code: status.UNKNOWN, details: `Invalid UUID string: ${id}` };
    }
    const found = versions.findLast((one) => one.pluginId === pluginId && (id === '' || one.id === id));
    return found ?? { code: status.NOT_FOUND, details: `Plugin not found: ${pluginId}` };
  };
  return {
    versions,
    asked,
    handlers: {
      getPluginMetadata: ({ request: { pluginId, id } }, callback) => {
        asked.push({ call: 'metadata', pluginId, id });
        const found = find(pluginId, id);
        if ('code' in found) callback(found);
        else callback(null, oldMetadata(found));
      },
      getPluginJar: ({ request: { pluginId, id } }, callback) => {
        asked.push({ call: 'jar', pluginId, id });
        const found = find(pluginId, id);
        if ('code' in found) callback(found);
        else callback(null, create(PluginJarResponseSchema, { jar: found.jar }));
      },
    },
  };
}

export function oldMetadata({ id, pluginId, version }: Omit<OldVersion, 'jar'>): PluginMetadata {
  return create(PluginMetadataSchema, { id, pluginId, version, uploadTime: '2025-10-03T12:00:00Z' });
}
