/**
 * The client's side of `flowops plugin publish`. A registry takes any new version under any id; that a version does not
 * become the latest of somebody else's plugin by accident is looked after here: see `takenBy`.
 */
import { parseSignature } from '@flowops/proto/bundle-signature.ts';
import type { CallBounds } from '@flowops/proto/grpc-call.ts';
import { writeStream } from '@flowops/proto/grpc-call.ts';
import { digestOf, pluginVersionUuid } from '@flowops/proto/ids.ts';
import type { Manifest } from '@flowops/proto/manifest.ts';
import { readBundleManifest } from '@flowops/proto/manifest.ts';
import type { Client } from '@grpc/grpc-js';
import { toChunks } from './plugin-messages.ts';
import { readPublishedHead } from './published-head.ts';
import type { RegistryFailure } from './registry-client.ts';
import {
  explainRegistryFailure,
  latestVersion,
  pluginIdProblem,
  REGISTRY_METHODS,
  registryFailure,
  withRegistry,
} from './registry-client.ts';
import { MAX_SOURCE_MAP_BYTES } from './registry-files.ts';

/** 16 MiB over a slow line; a question is one small message each way. */
const PUBLISH_DEADLINE_MS = 60_000;
const QUESTION_DEADLINE_MS = 10_000;

export interface PublishOptions {
  /** `host:port`. */
  readonly registry: string;
  readonly bundle: Uint8Array;
  /** Default: the manifest's name. */
  readonly pluginId?: string;
  /** Text of the .sig file. */
  readonly signature?: string;
  /** Left out when it is larger than a registry takes; it only serves to show errors. */
  readonly sourceMap?: string;
  /** Also under the id of a plugin that has another name or another signer. */
  readonly takeOver?: boolean;
  readonly signal?: AbortSignal;
}

export interface PublishedVersion {
  readonly ok: true;
  readonly pluginId: string;
  readonly version: string;
  /** `PluginMetadata.id`. */
  readonly id: string;
  /** What a flow gets now that names no version; null: nothing. Undefined: the service did not say. */
  readonly latest: string | null | undefined;
}

interface Publication {
  readonly pluginId: string;
  readonly manifest: Manifest;
  readonly digest: string;
  readonly signature: string | undefined;
}

export async function publishBundle(options: PublishOptions): Promise<PublishedVersion | RegistryFailure> {
  const { registry, bundle, signature, sourceMap } = options;
  const read = readBundleManifest(bundle);
  if (!read.ok) return registryFailure('invalid-bundle', `nothing was published: ${read.problem}`);
  const { manifest } = read;
  const pluginId = options.pluginId ?? manifest.name;
  const problem = pluginIdProblem(pluginId);
  if (problem !== undefined) return problem;
  const digest = digestOf(bundle);
  const hasFittingMap = Buffer.byteLength(sourceMap ?? '') <= MAX_SOURCE_MAP_BYTES;
  const chunks = toChunks({
    pluginId,
    digest,
    bytes: bundle,
    signature,
    sourceMap: hasFittingMap ? sourceMap : undefined,
  });
  return await withRegistry(registry, async (client) => {
    const signal = options.signal ?? new AbortController().signal;
    const asking = { deadlineMs: QUESTION_DEADLINE_MS, signal };
    const publication = { pluginId, manifest, digest, signature };
    const taken = options.takeOver === true ? undefined : await takenBy(client, publication, asking);
    if (taken !== undefined) return registryFailure('taken', taken);
    const bounds = { deadlineMs: PUBLISH_DEADLINE_MS, signal };
    const answer = await writeStream(client, REGISTRY_METHODS.publishPlugin, chunks, bounds);
    if (!answer.ok) {
      return explainRegistryFailure(answer, {
        registry,
        what: `${pluginId} ${manifest.version}`,
        unknownCall: `the plugin service on ${registry} only serves plugins; publish with its own means, or run \`flowops registry serve\``,
        refusedAs: 'invalid-bundle',
      });
    }
    const { pluginId: storedAs, version, id } = answer.value;
    return { ok: true, pluginId: storedAs, version, id, latest: await latestVersion(client, pluginId, asking) };
  });
}

/**
 * Why this version seems to be of another plugin than the one that has the id: the latest there has another name, or
 * was signed with another key. Engines would take it as the latest at once, and a policy would give it less, or nothing.
 * A guard against accidents: who the publisher is, is proven to the sandbox host alone. Not asked for the same bytes
 * again (they may be signed anew), nor where a service does not answer such questions.
 */
async function takenBy(client: Client, publication: Publication, bounds: CallBounds): Promise<string | undefined> {
  const { pluginId, manifest, digest, signature } = publication;
  const own = pluginVersionUuid(pluginId.toLowerCase(), manifest.version);
  const there = await readPublishedHead(client, { pluginId, id: own }, bounds);
  // Other bytes under this version are refused by the registry itself.
  if (there.ok) return undefined;
  const latest = await readPublishedHead(client, { pluginId, id: '' }, bounds);
  if (!latest.ok || latest.digest === digest) return undefined;
  const its = `${pluginId} is taken: its latest, ${latest.manifest.version},`;
  const way = 'if they are one plugin, publish it with --take-over';
  if (latest.manifest.name !== manifest.name) {
    const { name } = latest.manifest;
    return `${its} calls itself ${name}, and this bundle ${manifest.name}; give it another --id, or, ${way}`;
  }
  const theirs = keyIdOf(latest.signature);
  const ours = keyIdOf(signature ?? '');
  if (theirs === undefined || theirs === ours) return undefined;
  if (ours === undefined) {
    return `${its} is signed with the key ${theirs}, and this bundle is not signed; sign it first (\`flowops plugin sign\`) or, if it is another plugin, give it a name of its own; unsigned all the same: --take-over`;
  }
  return `${its} is signed with the key ${theirs}, and this bundle with ${ours}; if it is another plugin, give it a name of its own; ${way}`;
}

function keyIdOf(signature: string): string | undefined {
  const parsed = parseSignature(signature);
  return parsed.ok ? parsed.value.keyId : undefined;
}
