/** What the registry knows, in the messages of the plugin service. Pure; `json` is told as STRING there. */
import { create } from '@bufbuild/protobuf';
import type { ValueType } from '@flowops/proto/manifest.ts';
import type { PluginChunk, PluginMetadata } from '@flowops/proto/plugin_service_pb.js';
import { PluginChunkSchema, PluginIOType, PluginMetadataSchema } from '@flowops/proto/plugin_service_pb.js';
import type { PluginVersion } from './registry-folder.ts';

/** The contract's bound for `PluginChunk.data`. */
export const CHUNK_BYTES = 1024 * 1024;

const IO_TYPES: Record<ValueType, PluginIOType> = {
  integer: PluginIOType.INTEGER,
  float: PluginIOType.FLOAT,
  string: PluginIOType.STRING,
  boolean: PluginIOType.BOOLEAN,
  json: PluginIOType.STRING,
};

export function toMetadata(version: PluginVersion): PluginMetadata {
  const { manifest } = version;
  const declared = (values: Record<string, { type: ValueType }>) =>
    Object.entries(values).map(([name, { type }]) => ({ name, type: IO_TYPES[type] }));
  return create(PluginMetadataSchema, {
    id: version.uuid,
    pluginId: version.pluginId,
    version: version.version,
    description: manifest.description,
    author: '',
    uploadTime: version.publishedAt.toISOString(),
    inputs: declared(manifest.inputs),
    outputs: declared(manifest.outputs),
    jarFileUrl: '',
  });
}

export interface BundleFiles {
  readonly pluginId: string;
  readonly digest: string;
  readonly bytes: Uint8Array;
  readonly signature?: string | undefined;
  readonly sourceMap?: string | undefined;
}

/** First a chunk that only describes (a map may be large), then the bytes. */
export function* toChunks(files: BundleFiles): Generator<PluginChunk> {
  yield create(PluginChunkSchema, {
    digest: files.digest,
    pluginId: files.pluginId,
    signature: files.signature ?? '',
    sourceMap: files.sourceMap ?? '',
  });
  for (let offset = 0; offset < files.bytes.length; offset += CHUNK_BYTES) {
    yield create(PluginChunkSchema, { data: files.bytes.subarray(offset, offset + CHUNK_BYTES) });
  }
}
