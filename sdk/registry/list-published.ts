/**
 * Every published version of a plugin service, with what its bundle's first line and its `.sig` say: for reports about
 * plugins, never to run one. Of a bundle no more is fetched than its first line; the digest is the service's word.
 */
import { create } from '@bufbuild/protobuf';
import { messageOf } from '@flowops/proto/errors.ts';
import type { CallBounds, CallFailure } from '@flowops/proto/grpc-call.ts';
import { readStream } from '@flowops/proto/grpc-call.ts';
import type { Manifest } from '@flowops/proto/manifest.ts';
import { MAX_BUNDLE_BYTES } from '@flowops/proto/manifest.ts';
import type { PluginMetadata } from '@flowops/proto/plugin_service_pb.js';
import { ListPluginsRequestSchema } from '@flowops/proto/plugin_service_pb.js';
import { Client, credentials, status } from '@grpc/grpc-js';
import { readPublishedHead } from './published-head.ts';
import { REGISTRY_METHODS } from './registry-client.ts';

const LIST_DEADLINE_MS = 30_000;
const READ_DEADLINE_MS = 10_000;
/** As many as an engine lists. */
const MAX_VERSIONS = 10_000;
/** A service on the same network answers some hundred of these a second. */
const READS_AT_A_TIME = 8;

export interface PublishedPlugin {
  readonly pluginId: string;
  /** `sha256:<64 hex>` */
  readonly digest: string;
  readonly manifest: Manifest;
  /** Text of the .sig file; empty = unsigned. */
  readonly signature: string;
}

export type ListPublishedResult =
  | { readonly ok: true; readonly plugins: readonly PublishedPlugin[]; readonly unreadable: readonly string[] }
  | { readonly ok: false; readonly message: string };

/** @param address `host:port`. `unreadable`: one clause a version that could not be read. */
export async function listPublished(address: string, signal: AbortSignal): Promise<ListPublishedResult> {
  let client: Client;
  try {
    client = new Client(address, credentials.createInsecure(), {
      'grpc.max_receive_message_length': MAX_BUNDLE_BYTES + 64 * 1024,
      // A plugin service is a neighbour; a proxy meant for the web must not stand in between.
      'grpc.enable_http_proxy': 0,
      'grpc.service_config_disable_resolution': 1,
    });
  } catch (thrown) {
    return { ok: false, message: `${address} is no address of a plugin service: ${messageOf(thrown)}` };
  }
  try {
    const versions: PluginMetadata[] = [];
    const bounds = { deadlineMs: LIST_DEADLINE_MS, signal };
    const listed = await readStream(
      client,
      REGISTRY_METHODS.listPlugins,
      create(ListPluginsRequestSchema),
      bounds,
      (one) => {
        versions.push(one);
        return versions.length < MAX_VERSIONS ? 'more' : 'stop';
      },
    );
    if (!listed.ok) return { ok: false, message: listFailure(listed, address) };
    return { ok: true, ...(await readAll(client, versions, signal)) };
  } finally {
    client.close();
  }
}

async function readAll(client: Client, versions: readonly PluginMetadata[], signal: AbortSignal) {
  const left = [...versions];
  const plugins: PublishedPlugin[] = [];
  const unreadable: string[] = [];
  const work = async () => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) {
      const read = await readFirstLine(client, one, { deadlineMs: READ_DEADLINE_MS, signal });
      if (typeof read === 'string') unreadable.push(`${one.pluginId} ${one.version}: ${read}`);
      else plugins.push(read);
    }
  };
  await Promise.all(Array.from({ length: READS_AT_A_TIME }, work));
  return { plugins, unreadable: unreadable.sort() };
}

/** Or what is wrong with it. */
async function readFirstLine(
  client: Client,
  { pluginId, id }: PluginMetadata,
  bounds: CallBounds,
): Promise<PublishedPlugin | string> {
  const head = await readPublishedHead(client, { pluginId, id }, bounds);
  if (!head.ok) return head.details;
  const { digest, signature, manifest } = head;
  return digest === '' ? 'it was sent without its digest' : { pluginId, digest, signature, manifest };
}

function listFailure(failure: CallFailure, address: string): string {
  if (failure.kind === 'status' && failure.status === status.UNIMPLEMENTED) {
    return `the plugin service on ${address} cannot list its plugins; name a folder of them with --plugins`;
  }
  return `the plugin service on ${address} did not list its plugins: ${failure.details}`;
}
