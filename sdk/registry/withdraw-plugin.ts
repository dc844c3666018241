/** Takes a published version out of latest, or puts it back: the client's side of `flowops plugin withdraw`. */
import { create } from '@bufbuild/protobuf';
import { callUnary } from '@flowops/proto/grpc-call.ts';
import { versionSchema } from '@flowops/proto/manifest.ts';
import { WithdrawPluginRequestSchema } from '@flowops/proto/plugin_service_pb.js';
import type { RegistryFailure } from './registry-client.ts';
import {
  explainRegistryFailure,
  latestVersion,
  pluginIdProblem,
  REGISTRY_METHODS,
  registryFailure,
  withRegistry,
} from './registry-client.ts';

/** One small message each way. */
const DEADLINE_MS = 10_000;

export interface WithdrawOptions {
  /** `host:port`. */
  readonly registry: string;
  readonly pluginId: string;
  readonly version: string;
  /** Puts it back. */
  readonly restore?: boolean;
  readonly signal?: AbortSignal;
}

export interface WithdrawnVersion {
  readonly ok: true;
  readonly pluginId: string;
  readonly version: string;
  /** `PluginMetadata.id`. */
  readonly id: string;
  /** What a flow gets now that names no version; null: nothing. Undefined: the service did not say. */
  readonly latest: string | null | undefined;
}

/** Doing it twice is doing it once. */
export async function withdrawPlugin(options: WithdrawOptions): Promise<WithdrawnVersion | RegistryFailure> {
  const { registry, pluginId, version, restore = false } = options;
  const problem = pluginIdProblem(pluginId);
  if (problem !== undefined) return problem;
  if (!versionSchema.safeParse(version).success) {
    const given = JSON.stringify(version.slice(0, 64));
    return registryFailure('usage', `VERSION must be one exact version, like 1.2.0; ${given} is not`);
  }
  return await withRegistry(registry, async (client) => {
    const bounds = { deadlineMs: DEADLINE_MS, signal: options.signal ?? new AbortController().signal };
    const request = create(WithdrawPluginRequestSchema, { pluginId, version, restore });
    const answer = await callUnary(client, REGISTRY_METHODS.withdrawPlugin, request, bounds);
    if (!answer.ok) {
      return explainRegistryFailure(answer, {
        registry,
        what: `${pluginId} ${version}`,
        unknownCall:
          `the plugin service on ${registry} cannot ${restore ? 'restore' : 'withdraw'} a version: ` +
          `change its latest by its own means; \`deny\` in the sandbox policy keeps a version from running at all`,
        refusedAs: 'usage',
      });
    }
    const { id } = answer.value;
    return { ok: true, pluginId, version, id, latest: await latestVersion(client, pluginId, bounds) };
  });
}
