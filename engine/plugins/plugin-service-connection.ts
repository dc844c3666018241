/**
 * The calls of a plugin service over one gRPC channel: deadlines, retries while the service is away, the receive limit,
 * and the fall back to the two calls that every plugin service knows. Keeps no plugin and decides nothing about ids;
 * answers are gRPC's (plugin-service-answers.ts turns them into our codes).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { MAX_SIGNATURE_TEXT_BYTES } from '@flowops/proto/bundle-signature.ts';
import type { CallFailure, CallResult } from '@flowops/proto/grpc-call.ts';
import { callUnary, printable, readStream } from '@flowops/proto/grpc-call.ts';
import { grpcMethods } from '@flowops/proto/grpc-service.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { MAX_BUNDLE_BYTES } from '@flowops/proto/manifest.ts';
import type { PluginChunk, PluginMetadata, PluginRequest } from '@flowops/proto/plugin_service_pb.js';
import { ListPluginsRequestSchema, PluginRequestSchema, PluginService } from '@flowops/proto/plugin_service_pb.js';
import type { ChannelOptions } from '@grpc/grpc-js';
import { Client, credentials, status } from '@grpc/grpc-js';

/** A whole bundle in one message, its field tags and ids beside it. */
const MAX_RECEIVE_BYTES = MAX_BUNDLE_BYTES + 64 * 1024;
/** Waits between tries while the service is unreachable, together 1.5 s: a restart, not an outage. */
const RETRY_DELAYS_MS = [100, 200, 400, 800];
/** A listing only serves messages; more names than this help nobody. */
const MAX_LISTED = 10_000;

export interface CallDeadlines {
  readonly metadataMs: number;
  readonly bytesMs: number;
}

/** A description is one small message; 16 MiB may come over a slow line. */
export const DEFAULT_DEADLINES: CallDeadlines = { metadataMs: 5_000, bytesMs: 30_000 };

const METHODS = grpcMethods(PluginService);
const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc.max_receive_message_length': MAX_RECEIVE_BYTES,
  // Ours retries with the caller's signal in view; two layers would multiply.
  'grpc.enable_retries': 0,
  // A service that is back should be seen within the tries above.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1_000,
  // A plugin service is a neighbour; a proxy meant for the web must not stand in between.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  // A new channel means a new connection, also to the same address.
  'grpc.use_local_subchannel_pool': 1,
};

export interface Fetched {
  readonly digest: string;
  readonly bytes: Uint8Array;
  readonly signature?: string;
  readonly sourceMap?: string;
}

/** What a fetch can give besides bytes and a failed call. */
export type FetchResult = { readonly ok: true; readonly value: Fetched } | FetchFailure;

export type FetchFailure =
  | CallFailure
  /** Bytes came that are not what was announced, or without end. */
  | { readonly ok: false; readonly kind: 'damaged'; readonly details: string };

export class PluginServiceConnection {
  readonly #address: string;
  readonly #deadlines: CallDeadlines;
  #client: Client;
  /** The service answered UNIMPLEMENTED to our calls; asked again after the connection was lost. */
  #knowsOnlyOldCalls = false;
  #isClosed = false;

  constructor(address: string, deadlines: CallDeadlines = DEFAULT_DEADLINES) {
    this.#address = address;
    this.#deadlines = deadlines;
    this.#client = this.#connect();
  }

  metadata(pluginId: string, id: string, signal: AbortSignal): Promise<CallResult<PluginMetadata>> {
    const request = create(PluginRequestSchema, { pluginId, id });
    return this.#retry(signal, () =>
      callUnary(this.#client, METHODS.getPluginMetadata, request, { deadlineMs: this.#deadlines.metadataMs, signal }),
    );
  }

  async fetch(pluginId: string, id: string, signal: AbortSignal): Promise<FetchResult> {
    const request = create(PluginRequestSchema, { pluginId, id });
    if (!this.#knowsOnlyOldCalls) {
      const streamed = await this.#retry(signal, () => this.#fetchStream(request, signal));
      if (streamed.ok || !isUnimplemented(streamed)) return streamed;
      this.#knowsOnlyOldCalls = true;
    }
    const answer = await this.#retry(signal, () =>
      callUnary(this.#client, METHODS.getPluginJar, request, { deadlineMs: this.#deadlines.bytesMs, signal }),
    );
    if (!answer.ok) return answer;
    const { jar } = answer.value;
    return { ok: true, value: { digest: digestOf(jar), bytes: jar } };
  }

  /** Digest and signature of a version, without its bytes; undefined when the service cannot tell them or did not. */
  async signature(
    pluginId: string,
    id: string,
    signal: AbortSignal,
  ): Promise<{ readonly digest: string; readonly signature: string } | undefined> {
    if (this.#knowsOnlyOldCalls) return undefined;
    const request = create(PluginRequestSchema, { pluginId, id });
    const bounds = { deadlineMs: this.#deadlines.metadataMs, signal };
    let first: PluginChunk | undefined;
    const result = await readStream(this.#client, METHODS.getPluginBundle, request, bounds, (chunk) => {
      first = chunk;
      return 'stop';
    });
    if (!result.ok && isUnimplemented(result)) this.#knowsOnlyOldCalls = true;
    return result.ok && first !== undefined ? { digest: first.digest, signature: first.signature } : undefined;
  }

  /** Undefined when the service cannot list or did not. */
  async list(signal: AbortSignal): Promise<PluginMetadata[] | undefined> {
    if (this.#knowsOnlyOldCalls) return undefined;
    const listed: PluginMetadata[] = [];
    const bounds = { deadlineMs: this.#deadlines.metadataMs, signal };
    const result = await readStream(
      this.#client,
      METHODS.listPlugins,
      create(ListPluginsRequestSchema),
      bounds,
      (metadata) => (listed.push(metadata) < MAX_LISTED ? 'more' : 'stop'),
    );
    return result.ok ? listed : undefined;
  }

  /** Idempotent. Running calls end as the service or their deadline ends them. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#client.close();
  }

  async #fetchStream(request: PluginRequest, signal: AbortSignal): Promise<FetchResult> {
    let first: PluginChunk | undefined;
    const parts: Uint8Array[] = [];
    let received = 0;
    const bounds = { deadlineMs: this.#deadlines.bytesMs, signal };
    const result = await readStream(this.#client, METHODS.getPluginBundle, request, bounds, (chunk) => {
      first ??= chunk;
      received += chunk.data.length;
      if (received > MAX_BUNDLE_BYTES) return 'stop';
      if (chunk.data.length > 0) parts.push(chunk.data);
      return 'more';
    });
    if (!result.ok) return result;
    const damaged = (details: string) => ({ ok: false, kind: 'damaged', details }) as const;
    if (received > MAX_BUNDLE_BYTES) {
      return damaged(`it sent more than ${MAX_BUNDLE_BYTES} bytes (16 MiB), the most a bundle may have`);
    }
    if (first === undefined) return damaged('it ended the stream without a chunk');
    const bytes = Buffer.concat(parts);
    const digest = digestOf(bytes);
    if (first.digest !== '' && first.digest !== digest) {
      return damaged(`it announced ${printable(first.digest, 80)} and sent ${bytes.length} bytes that are ${digest}`);
    }
    return {
      ok: true,
      value: {
        digest,
        bytes,
        ...(isSignature(first.signature) ? { signature: first.signature } : {}),
        ...(first.sourceMap === '' ? {} : { sourceMap: first.sourceMap }),
      },
    };
  }

  /** Tries again only what an unreachable service answered; whatever a service says itself is final. */
  async #retry<R extends { readonly ok: true } | FetchResult>(
    signal: AbortSignal,
    attempt: () => Promise<R>,
  ): Promise<R> {
    for (const delayMs of RETRY_DELAYS_MS) {
      const result = await attempt();
      if (!isAway(result)) return this.#note(result);
      this.#knowsOnlyOldCalls = false;
      // Full jitter on the upper half: many engines must not come back in step.
      const waitMs = delayMs * (0.5 + Math.random() / 2);
      const waited = await sleep(waitMs, true, { signal }).catch(() => false);
      if (!waited || this.#isClosed) return result;
    }
    return this.#note(await attempt());
  }

  /** A connection on which an answer did not come in time may be dead without our knowing: the next call gets a new one. */
  #note<R extends { readonly ok: true } | FetchResult>(result: R): R {
    if (hasStatus(result, status.DEADLINE_EXCEEDED) && !this.#isClosed) {
      this.#client.close();
      this.#client = this.#connect();
    }
    return result;
  }

  #connect(): Client {
    return new Client(this.#address, credentials.createInsecure(), CHANNEL_OPTIONS);
  }
}

/** Whether it can be the text of a .sig file; what is in it is the sandbox host's to judge. */
export function isSignature(text: string): boolean {
  return text !== '' && Buffer.byteLength(text) <= MAX_SIGNATURE_TEXT_BYTES;
}

function hasStatus(result: { readonly ok: true } | FetchResult, wanted: status): boolean {
  return !result.ok && result.kind === 'status' && result.status === wanted;
}

/** Nobody there, or gone in the middle: a server that is killed cuts its streams with CANCELLED. */
function isAway(result: { readonly ok: true } | FetchResult): boolean {
  return hasStatus(result, status.UNAVAILABLE) || hasStatus(result, status.CANCELLED);
}

function isUnimplemented(failure: FetchFailure): boolean {
  return failure.kind === 'status' && failure.status === status.UNIMPLEMENTED;
}
