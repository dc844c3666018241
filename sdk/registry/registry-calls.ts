/**
 * The calls of the plugin service, one handler each, over a registry folder. Answers every outcome of the folder with
 * a gRPC status; a fault of this machine (disk full, no permission) is INTERNAL and logged, never thrown.
 */
import { once } from 'node:events';
import { addAbortSignal } from 'node:stream';
import { create } from '@bufbuild/protobuf';
import { assertNever, messageOf } from '@flowops/proto/errors.ts';
import type { GrpcHandlers } from '@flowops/proto/grpc-service.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { MAX_BUNDLE_BYTES } from '@flowops/proto/manifest.ts';
import type { PluginChunk, PluginMetadata, PluginService } from '@flowops/proto/plugin_service_pb.js';
import { PluginJarResponseSchema } from '@flowops/proto/plugin_service_pb.js';
import type { ServerReadableStream, ServerWritableStream, sendUnaryData } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import { toChunks, toMetadata } from './plugin-messages.ts';
import type { FindResult, Publication, PublishResult, RegistryFolder, VersionFiles } from './registry-folder.ts';

/** More messages than a whole bundle can need; a stream of empty chunks ends here. */
const MAX_PUBLISH_CHUNKS = 65_536;

const TOO_SLOW: Refusal = { code: status.DEADLINE_EXCEEDED, details: 'the client took too long over this call' };

export interface RegistryCallOptions {
  readonly folder: RegistryFolder;
  readonly log: (message: string) => void;
  /** How long one call may take: a client that stops reading or sending must not hold a bundle in memory for ever. */
  readonly maxCallMs: number;
}

type Methods = typeof PluginService extends { method: infer M } ? M : never;

/** What a call ends with when it has no answer. */
interface Refusal {
  readonly code: status;
  readonly details: string;
}

type Outcome<T> = { readonly value: T } | { readonly refusal: Refusal };

export function pluginServiceHandlers({ folder, log, maxCallMs }: RegistryCallOptions): GrpcHandlers<Methods> {
  /** Runs a call that gives one answer. */
  const answer = <T>(name: string, callback: sendUnaryData<T>, work: () => Promise<Outcome<T>>) => {
    work().then(
      (outcome) => ('value' in outcome ? callback(null, outcome.value) : callback(outcome.refusal)),
      (thrown: unknown) => {
        log(`${name} failed: ${messageOf(thrown)}`);
        callback({ code: status.INTERNAL, details: 'the registry could not read or write its folder' });
      },
    );
  };
  /** Runs a call that streams; `work` gives the messages one after the other. */
  const stream = <I, T>(name: string, call: ServerWritableStream<I, T>, work: () => AsyncIterable<Outcome<T>>) => {
    sendAll(call, work(), AbortSignal.timeout(maxCallMs)).catch((thrown: unknown) => {
      log(`${name} failed: ${messageOf(thrown)}`);
      refuse(call, { code: status.INTERNAL, details: 'the registry could not read its folder' });
    });
  };
  return {
    getPluginMetadata: ({ request }, callback) =>
      answer('GetPluginMetadata', callback, async () => metadataOf(await folder.find(request.pluginId, request.id))),

    getPluginJar: ({ request }, callback) =>
      answer('GetPluginJar', callback, async () => {
        const read = await folder.read(request.pluginId, request.id);
        if (read.kind !== 'read') return { refusal: refusalOf(read) };
        return { value: create(PluginJarResponseSchema, { jar: read.files.bytes }) };
      }),

    getPluginBundle: (call) =>
      stream('GetPluginBundle', call, async function* () {
        const read = await folder.read(call.request.pluginId, call.request.id);
        if (read.kind !== 'read') yield { refusal: refusalOf(read) };
        else for (const value of chunksOf(read.files)) yield { value };
      }),

    publishPlugin: (call, callback) =>
      answer('PublishPlugin', callback, async () => {
        const received = await receivePublication(call, AbortSignal.timeout(maxCallMs));
        if ('refusal' in received) return received;
        const result = await folder.publish(received.value);
        if (result.kind === 'stored') log(`published ${result.version.pluginId} ${result.version.version}`);
        return publishedOf(result);
      }),

    listPlugins: (call) =>
      stream('ListPlugins', call, async function* () {
        for (const pluginId of await folder.pluginIds()) {
          for (const version of await folder.versions(pluginId)) yield { value: toMetadata(version) };
        }
      }),

    withdrawPlugin: ({ request }, callback) =>
      answer('WithdrawPlugin', callback, async () => {
        const { pluginId, version, restore } = request;
        const found = await folder.withdraw(pluginId, version, { restore });
        if (found.kind === 'found') log(`${restore ? 'restored' : 'withdrew'} ${pluginId} ${version}`);
        return metadataOf(found);
      }),
  };
}

function metadataOf(found: FindResult): Outcome<PluginMetadata> {
  return found.kind === 'found' ? { value: toMetadata(found.version) } : { refusal: refusalOf(found) };
}

function refusalOf(failed: Exclude<FindResult, { kind: 'found' }>): Refusal {
  switch (failed.kind) {
    case 'malformed':
      return { code: status.INVALID_ARGUMENT, details: failed.message };
    case 'missing':
      return { code: status.NOT_FOUND, details: failed.message };
    case 'broken':
      return { code: status.FAILED_PRECONDITION, details: failed.message };
    default:
      return assertNever(failed);
  }
}

function publishedOf(result: PublishResult): Outcome<PluginMetadata> {
  switch (result.kind) {
    case 'stored':
    case 'unchanged':
      return { value: toMetadata(result.version) };
    case 'exists':
      return { refusal: { code: status.ALREADY_EXISTS, details: result.message } };
    case 'malformed':
    case 'broken':
      return { refusal: { code: status.INVALID_ARGUMENT, details: result.message } };
    default:
      return assertNever(result);
  }
}

function chunksOf(files: VersionFiles): Iterable<PluginChunk> {
  const { version, bytes, signature, sourceMap } = files;
  return toChunks({ pluginId: version.pluginId, digest: version.digest, bytes, signature, sourceMap });
}

/** Collects what a publisher sends; stops reading as soon as it is too much. */
async function receivePublication(
  call: ServerReadableStream<PluginChunk, PluginMetadata>,
  timeout: AbortSignal,
): Promise<Outcome<Publication>> {
  const invalid = (details: string) => ({ refusal: { code: status.INVALID_ARGUMENT, details } });
  let first: PluginChunk | undefined;
  const parts: Uint8Array[] = [];
  let received = 0;
  let chunks = 0;
  addAbortSignal(timeout, call);
  try {
    for await (const chunk of call as AsyncIterable<PluginChunk>) {
      first ??= chunk;
      received += chunk.data.length;
      if (received > MAX_BUNDLE_BYTES) return invalid(`the bundle has more than ${MAX_BUNDLE_BYTES} bytes`);
      if (++chunks > MAX_PUBLISH_CHUNKS) return invalid(`the bundle came in more than ${MAX_PUBLISH_CHUNKS} chunks`);
      parts.push(chunk.data);
    }
  } catch (thrown) {
    if (!timeout.aborted) throw thrown;
    return { refusal: TOO_SLOW };
  }
  // A publisher that goes away ends the stream too; what came is then no bundle.
  if (call.cancelled) return { refusal: { code: status.CANCELLED, details: 'the publisher went away' } };
  if (first === undefined) return invalid('no chunk came');
  const bytes = Buffer.concat(parts);
  if (first.digest !== '' && first.digest !== digestOf(bytes)) {
    return invalid(`the bytes that came have digest ${digestOf(bytes)}, not the one announced`);
  }
  return {
    value: {
      bytes,
      ...(first.pluginId === '' ? {} : { pluginId: first.pluginId }),
      ...(first.signature === '' ? {} : { signature: first.signature }),
      ...(first.sourceMap === '' ? {} : { sourceMap: first.sourceMap }),
    },
  };
}

/** Writes only as fast as the client reads, and stops when it has gone. */
async function sendAll<I, T>(
  call: ServerWritableStream<I, T>,
  messages: AsyncIterable<Outcome<T>>,
  timeout: AbortSignal,
): Promise<void> {
  const gone = new AbortController();
  call.once('cancelled', () => gone.abort());
  const ended = AbortSignal.any([gone.signal, timeout]);
  for await (const message of messages) {
    if (call.cancelled) return;
    if ('refusal' in message) return refuse(call, message.refusal);
    if (call.write(message.value)) continue;
    const isDrained = await once(call, 'drain', { signal: ended }).then(
      () => true,
      () => false,
    );
    if (!isDrained) return timeout.aborted ? refuse(call, TOO_SLOW) : undefined;
  }
  call.end();
}

/** grpc-js ends a stream with a status by this event; `destroy` would end it without one. */
function refuse<I, T>(call: ServerWritableStream<I, T>, refusal: Refusal): void {
  call.emit('error', Object.assign(new Error(refusal.details), refusal));
}
