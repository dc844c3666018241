/**
 * What the author's calls to a registry have in common: one connection a command, and what a service can answer as a
 * returned union whose message says what to change. Knows no single call.
 */
import { create } from '@bufbuild/protobuf';
import { messageOf } from '@flowops/proto/errors.ts';
import type { CallBounds, CallFailure } from '@flowops/proto/grpc-call.ts';
import { callUnary } from '@flowops/proto/grpc-call.ts';
import { grpcMethods } from '@flowops/proto/grpc-service.ts';
import { isPluginId } from '@flowops/proto/ids.ts';
import { versionSchema } from '@flowops/proto/manifest.ts';
import { PluginRequestSchema, PluginService } from '@flowops/proto/plugin_service_pb.js';
import { Client, credentials, status } from '@grpc/grpc-js';

export const REGISTRY_METHODS = grpcMethods(PluginService);

/**
 * `unavailable` may work later (exit 3); `invalid-bundle`, `exists` and `taken` are the plugin's to change (exit 1),
 * `usage` the call's (exit 2), `unsupported`: the service is one that does not do this, or not for us (exit 2).
 */
export type RegistryFailureReason =
  | 'unavailable'
  | 'invalid-bundle'
  | 'exists'
  | 'taken'
  | 'not-found'
  | 'usage'
  | 'unsupported';

export interface RegistryFailure {
  readonly ok: false;
  readonly reason: RegistryFailureReason;
  readonly message: string;
}

export function registryFailure(reason: RegistryFailureReason, message: string): RegistryFailure {
  return { ok: false, reason, message };
}

/** @param registry `host:port`. */
export async function withRegistry<T>(
  registry: string,
  work: (client: Client) => Promise<T>,
): Promise<T | RegistryFailure> {
  if (!/^(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):\d{1,5}$/.test(registry)) {
    const given = JSON.stringify(registry.slice(0, 64));
    return registryFailure('usage', `--registry must be HOST:PORT, for example 127.0.0.1:9091; ${given} is not`);
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
    return registryFailure('usage', `the registry ${registry} is no address: ${messageOf(thrown)}`);
  }
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** What is wrong with a plugin id that a person gave. */
export function pluginIdProblem(pluginId: string): RegistryFailure | undefined {
  if (isPluginId(pluginId)) return undefined;
  const given = JSON.stringify(pluginId.slice(0, 64));
  const form = 'a UUID, or 1 to 128 characters of a-z 0-9 . _ - that begin with a letter or digit';
  return registryFailure('usage', `${given} is no plugin id: ${form}`);
}

/** What a flow gets that names no version; null: nothing. Undefined: the service did not say. */
export async function latestVersion(
  client: Client,
  pluginId: string,
  bounds: CallBounds,
): Promise<string | null | undefined> {
  const request = create(PluginRequestSchema, { pluginId });
  const answer = await callUnary(client, REGISTRY_METHODS.getPluginMetadata, request, bounds);
  if (answer.ok) return versionSchema.safeParse(answer.value.version).data;
  return answer.kind === 'status' && answer.status === status.NOT_FOUND ? null : undefined;
}

export interface FailedRegistryCall {
  readonly registry: string;
  /** `core.http 1.2.0`. */
  readonly what: string;
  /** What to say when the service does not know the call. */
  readonly unknownCall: string;
  /** Whose fault a refused request is. */
  readonly refusedAs: 'invalid-bundle' | 'usage';
}

export function explainRegistryFailure(failure: CallFailure, call: FailedRegistryCall): RegistryFailure {
  const { registry, what, unknownCall, refusedAs } = call;
  if (failure.kind === 'aborted') return registryFailure('unavailable', `${what}: stopped before ${registry} answered`);
  if (failure.kind !== 'status') {
    return registryFailure('unsupported', `what listens on ${registry} is no plugin service: ${failure.details}`);
  }
  switch (failure.status) {
    case status.ALREADY_EXISTS:
      return registryFailure('exists', failure.details);
    case status.INVALID_ARGUMENT:
    case status.FAILED_PRECONDITION:
      return registryFailure(refusedAs, `${registry} refused ${what}: ${failure.details}`);
    case status.NOT_FOUND:
      return registryFailure('not-found', failure.details);
    case status.UNIMPLEMENTED:
      return registryFailure('unsupported', unknownCall);
    case status.PERMISSION_DENIED:
    case status.UNAUTHENTICATED:
      return registryFailure('unsupported', `${registry} does not let you: ${failure.details}`);
    case status.UNAVAILABLE:
      return registryFailure(
        'unavailable',
        `nothing answers on ${registry}; is \`flowops registry serve\` running? (${failure.details})`,
      );
    case status.DEADLINE_EXCEEDED:
      return registryFailure(
        'unavailable',
        `${registry} did not answer in time; ${what} may or may not have been taken, so try again`,
      );
    default:
      return registryFailure('unavailable', `${registry} failed: ${failure.details} (gRPC ${status[failure.status]})`);
  }
}
