/**
 * The client's side of publishing: `flowops plugin publish` and `plugin withdraw`. One connection a call; what a
 * service can answer is a returned union whose message says what to change.
 */
import { create } from '@bufbuild/protobuf';
import { messageOf } from '@flowops/proto/errors.ts';
import type { CallFailure, CallResult } from '@flowops/proto/grpc-call.ts';
import { callUnary, writeStream } from '@flowops/proto/grpc-call.ts';
import { grpcMethods } from '@flowops/proto/grpc-service.ts';
import { digestOf, isPluginId } from '@flowops/proto/ids.ts';
import { readBundleManifest } from '@flowops/proto/manifest.ts';
import type { PluginMetadata } from '@flowops/proto/plugin_service_pb.js';
import { PluginService, WithdrawPluginRequestSchema } from '@flowops/proto/plugin_service_pb.js';
import { Client, credentials, status } from '@grpc/grpc-js';
import { toChunks } from './plugin-messages.ts';
import { MAX_SOURCE_MAP_BYTES } from './registry-files.ts';

const METHODS = grpcMethods(PluginService);
/** 16 MiB over a slow line; a withdrawal is one small message. */
const PUBLISH_DEADLINE_MS = 60_000;
const WITHDRAW_DEADLINE_MS = 10_000;

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
  readonly signal?: AbortSignal;
}

export interface WithdrawOptions {
  readonly registry: string;
  readonly pluginId: string;
  readonly version: string;
  /** Puts it back. */
  readonly restore?: boolean;
  readonly signal?: AbortSignal;
}

export interface PublishedVersion {
  readonly pluginId: string;
  readonly version: string;
  /** `PluginMetadata.id`. */
  readonly id: string;
}

/**
 * `unavailable` may work later (exit 3); `invalid-bundle` and `exists` are the plugin's to change (exit 1), `usage` the
 * call's (exit 2), `unsupported`: the service is one that nobody can publish to this way.
 */
export type RegistryFailureReason = 'unavailable' | 'invalid-bundle' | 'exists' | 'not-found' | 'usage' | 'unsupported';

export type RegistryCallResult =
  | { readonly ok: true; readonly published: PublishedVersion }
  | { readonly ok: false; readonly reason: RegistryFailureReason; readonly message: string };

export async function publishBundle(options: PublishOptions): Promise<RegistryCallResult> {
  const read = readBundleManifest(options.bundle);
  if (!read.ok) return { ok: false, reason: 'invalid-bundle', message: `nothing was published: ${read.problem}` };
  const pluginId = options.pluginId ?? read.manifest.name;
  if (!isPluginId(pluginId)) {
    return {
      ok: false,
      reason: 'usage',
      message: `${JSON.stringify(pluginId.slice(0, 64))} is no plugin id: a UUID, or 1 to 128 characters of a-z 0-9 . _ - that begin with a letter or digit`,
    };
  }
  const hasFittingMap = Buffer.byteLength(options.sourceMap ?? '') <= MAX_SOURCE_MAP_BYTES;
  const chunks = toChunks({
    pluginId,
    digest: digestOf(options.bundle),
    bytes: options.bundle,
    signature: options.signature,
    sourceMap: hasFittingMap ? options.sourceMap : undefined,
  });
  const what = `${pluginId} ${read.manifest.version}`;
  return await withRegistry(options.registry, what, (client) =>
    writeStream(client, METHODS.publishPlugin, chunks, {
      deadlineMs: PUBLISH_DEADLINE_MS,
      signal: options.signal ?? new AbortController().signal,
    }),
  );
}

export async function withdrawPlugin(options: WithdrawOptions): Promise<RegistryCallResult> {
  const { pluginId, version, restore = false } = options;
  const request = create(WithdrawPluginRequestSchema, { pluginId, version, restore });
  return await withRegistry(options.registry, `${pluginId} ${version}`, (client) =>
    callUnary(client, METHODS.withdrawPlugin, request, {
      deadlineMs: WITHDRAW_DEADLINE_MS,
      signal: options.signal ?? new AbortController().signal,
    }),
  );
}

async function withRegistry(
  registry: string,
  what: string,
  call: (client: Client) => Promise<CallResult<PluginMetadata>>,
): Promise<RegistryCallResult> {
  if (!/^(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):\d{1,5}$/.test(registry)) {
    return {
      ok: false,
      reason: 'usage',
      message: `--registry must be HOST:PORT, for example 127.0.0.1:9091; ${JSON.stringify(registry.slice(0, 64))} is not`,
    };
  }
  let client: Client;
  try {
    client = new Client(registry, credentials.createInsecure(), {
      // A registry is a neighbour; a proxy meant for the web must not stand in between.
      'grpc.enable_http_proxy': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.use_local_subchannel_pool': 1,
    });
  } catch (thrown) {
    return { ok: false, reason: 'usage', message: `the registry ${registry} is no address: ${messageOf(thrown)}` };
  }
  try {
    const result = await call(client);
    if (!result.ok) return explain(result, registry, what);
    const { pluginId, version, id } = result.value;
    return { ok: true, published: { pluginId, version, id } };
  } finally {
    client.close();
  }
}

function explain(failure: CallFailure, registry: string, what: string): RegistryCallResult {
  const failed = (reason: RegistryFailureReason, message: string) => ({ ok: false, reason, message }) as const;
  if (failure.kind === 'aborted') return failed('unavailable', `${what}: stopped before ${registry} answered`);
  if (failure.kind !== 'status') {
    return failed('unsupported', `what listens on ${registry} is no plugin service: ${failure.details}`);
  }
  switch (failure.status) {
    case status.ALREADY_EXISTS:
      return failed('exists', failure.details);
    case status.INVALID_ARGUMENT:
    case status.FAILED_PRECONDITION:
      return failed('invalid-bundle', `${registry} refused ${what}: ${failure.details}`);
    case status.NOT_FOUND:
      return failed('not-found', failure.details);
    case status.UNIMPLEMENTED:
      return failed(
        'unsupported',
        `the plugin service on ${registry} only serves plugins; publish with its own means, or run \`flowops registry serve\``,
      );
    case status.UNAVAILABLE:
      return failed(
        'unavailable',
        `nothing answers on ${registry}; is \`flowops registry serve\` running? (${failure.details})`,
      );
    case status.DEADLINE_EXCEEDED:
      return failed(
        'unavailable',
        `${registry} did not answer in time; ${what} may or may not have been taken, so try again`,
      );
    default:
      return failed('unavailable', `${registry} failed: ${failure.details} (gRPC ${status[failure.status]})`);
  }
}
