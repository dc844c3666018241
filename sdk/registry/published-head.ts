/**
 * What a plugin service says about one published version without sending all of it: its digest, its signature and the
 * manifest in the first line of its bundle. The digest is the service's word; never used to run a plugin.
 */
import { create } from '@bufbuild/protobuf';
import type { CallBounds, CallFailure } from '@flowops/proto/grpc-call.ts';
import { readStream } from '@flowops/proto/grpc-call.ts';
import type { Manifest } from '@flowops/proto/manifest.ts';
import { MAX_MANIFEST_BYTES, readBundleManifest } from '@flowops/proto/manifest.ts';
import { PluginRequestSchema } from '@flowops/proto/plugin_service_pb.js';
import type { Client } from '@grpc/grpc-js';
import { REGISTRY_METHODS } from './registry-client.ts';

export interface PublishedHead {
  readonly ok: true;
  /** `sha256:<64 hex>`, empty when the service does not tell it. */
  readonly digest: string;
  /** Text of the .sig file; empty = unsigned. */
  readonly signature: string;
  readonly manifest: Manifest;
}

/** The bytes are no bundle. */
export interface UnreadableHead {
  readonly ok: false;
  readonly kind: 'no-bundle';
  readonly details: string;
}

/** @param id `PluginMetadata.id`; empty for the latest. */
export async function readPublishedHead(
  client: Client,
  { pluginId, id }: { readonly pluginId: string; readonly id: string },
  bounds: CallBounds,
): Promise<PublishedHead | UnreadableHead | CallFailure> {
  const parts: Uint8Array[] = [];
  let length = 0;
  let digest = '';
  let signature = '';
  const request = create(PluginRequestSchema, { pluginId, id });
  const read = await readStream(client, REGISTRY_METHODS.getPluginBundle, request, bounds, (chunk) => {
    digest ||= chunk.digest;
    signature ||= chunk.signature;
    parts.push(chunk.data);
    length += chunk.data.length;
    return chunk.data.includes(0x0a) || length > MAX_MANIFEST_BYTES ? 'stop' : 'more';
  });
  if (!read.ok) return read;
  const found = readBundleManifest(Buffer.concat(parts));
  if (!found.ok) return { ok: false, kind: 'no-bundle', details: found.problem };
  return { ok: true, digest, signature, manifest: found.manifest };
}
