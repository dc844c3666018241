/** The registry as a gRPC client of another make sees it: calls of the contract by hand, reflection, publishing. */

import http2 from 'node:http2';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { create, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { CallResult } from '@flowops/proto/grpc-call.ts';
import { callUnary, readStream, writeStream } from '@flowops/proto/grpc-call.ts';
import { grpcMethods } from '@flowops/proto/grpc-service.ts';
import { digestOf, pluginVersionUuid } from '@flowops/proto/ids.ts';
import { MAX_BUNDLE_BYTES } from '@flowops/proto/manifest.ts';
import type { PluginChunk, PluginMetadata } from '@flowops/proto/plugin_service_pb.js';
import {
  ListPluginsRequestSchema,
  PluginChunkSchema,
  PluginIOType,
  PluginRequestSchema,
  PluginService,
} from '@flowops/proto/plugin_service_pb.js';
import { publishBundle } from '@flowops/sdk/registry/publish-bundle.ts';
import { RegistryFolder } from '@flowops/sdk/registry/registry-folder.ts';
import type { RunningRegistry } from '@flowops/sdk/registry/registry-server.ts';
import { serveRegistry } from '@flowops/sdk/registry/registry-server.ts';
import { withdrawPlugin } from '@flowops/sdk/registry/withdraw-plugin.ts';
import { Client, credentials, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { scratchFolder } from '../services/scratch.ts';
import { bundleBytes } from '../support/bundle-bytes.ts';
import { oldService, startPluginService } from '../support/plugin-service.ts';
import { newSigner } from '../support/signer.ts';

const METHODS = grpcMethods(PluginService);
const bounds = { deadlineMs: 10_000, signal: new AbortController().signal };
const HELLO = bundleBytes({
  inputs: {
    repeatCount: { type: 'integer' },
    ratio: { type: 'float' },
    on: { type: 'boolean' },
    any: { type: 'json' },
  },
  outputs: { message: { type: 'string' } },
});

let registry: RunningRegistry;
let client: Client;
beforeEach(async () => {
  registry = await serveRegistry({ dir: join(scratchFolder(), 'made-when-missing'), port: 0 });
  client = new Client(registry.address, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
  });
});
afterEach(async () => {
  client.close();
  await registry.close();
});

async function publish(bundle: Uint8Array, pluginId?: string) {
  return await publishBundle({ registry: registry.address, bundle, ...(pluginId === undefined ? {} : { pluginId }) });
}

function metadata(pluginId: string, id = ''): Promise<CallResult<PluginMetadata>> {
  return callUnary(client, METHODS.getPluginMetadata, create(PluginRequestSchema, { pluginId, id }), bounds);
}

async function jar(pluginId: string, id = ''): Promise<Uint8Array | status> {
  const answer = await callUnary(client, METHODS.getPluginJar, create(PluginRequestSchema, { pluginId, id }), bounds);
  if (answer.ok) return answer.value.jar;
  return answer.kind === 'status' ? answer.status : status.UNKNOWN;
}

async function stream(pluginId: string): Promise<PluginChunk[]> {
  const chunks: PluginChunk[] = [];
  const request = create(PluginRequestSchema, { pluginId });
  await readStream(client, METHODS.getPluginBundle, request, bounds, (chunk) => {
    chunks.push(chunk);
    return 'more';
  });
  return chunks;
}

describe('the two calls that every client knows', () => {
  test('metadata tells id, version and the types by their numbers, json as STRING', async () => {
    await publish(HELLO);
    const answer = await metadata('core.hello');
    if (!answer.ok) throw new Error(answer.details);
    expect(answer.value).toMatchObject({
      id: pluginVersionUuid('core.hello', '1.0.0'),
      pluginId: 'core.hello',
      version: '1.0.0',
      author: '',
    });
    expect(Object.fromEntries(answer.value.inputs.map(({ name, type }) => [name, type]))).toEqual({
      repeatCount: PluginIOType.INTEGER,
      ratio: PluginIOType.FLOAT,
      on: PluginIOType.BOOLEAN,
      any: PluginIOType.STRING,
    });
    expect(answer.value.outputs).toMatchObject([{ name: 'message', type: 2 }]);
    expect(new Date(answer.value.uploadTime).toISOString()).toBe(answer.value.uploadTime);
  });

  test('the jar is the bundle, by the empty id, the version and the UUID', async () => {
    await publish(HELLO);
    for (const id of ['', '1.0.0', pluginVersionUuid('core.hello', '1.0.0').toUpperCase()]) {
      const bytes = await jar('core.hello', id);
      expect(typeof bytes === 'number' ? bytes : digestOf(bytes), id).toBe(digestOf(HELLO));
    }
  });

  test.each([
    ['the empty id', ''],
    ['an unknown id', 'nope'],
    ['a path', '../../etc/passwd'],
    ['an id of 100 KB', 'x'.repeat(100_000)],
  ])('%s is refused', async (_name, pluginId) => {
    expect([status.NOT_FOUND, status.INVALID_ARGUMENT]).toContain(await jar(pluginId));
    expect([status.NOT_FOUND, status.INVALID_ARGUMENT]).toContain(await jar('core.hello', pluginId || 'x'));
  });
});

describe('the stream', () => {
  test('a bundle of 16 MiB goes both ways in chunks of at most 1 MiB, and in one jar', async () => {
    const head = bundleBytes();
    const big = Buffer.concat([head, Buffer.alloc(MAX_BUNDLE_BYTES - head.length, 0x20)]);
    expect(await publish(big)).toMatchObject({ ok: true });
    const chunks = await stream('core.hello');
    expect(Math.max(...chunks.map((chunk) => chunk.data.length))).toBeLessThanOrEqual(1024 * 1024);
    expect(chunks[0]).toMatchObject({ digest: digestOf(big), pluginId: 'core.hello' });
    expect(digestOf(Buffer.concat(chunks.map((chunk) => chunk.data)))).toBe(digestOf(big));
    const whole = await jar('core.hello');
    expect(typeof whole === 'number' ? whole : whole.length).toBe(MAX_BUNDLE_BYTES);
  });

  test('signature and source map come with the first chunk', async () => {
    const sent = { signature: newSigner().sign(HELLO), sourceMap: '{"version":3}' };
    await publishBundle({ registry: registry.address, bundle: HELLO, ...sent });
    expect((await stream('core.hello'))[0]).toMatchObject(sent);
  });

  test('listing gives every version of every plugin', async () => {
    await publish(HELLO);
    await publish(bundleBytes({ version: '1.1.0' }));
    await publish(bundleBytes(), '0f2f3c1e-9a64-4a35-8a62-51f7d2f4ab01');
    const seen: string[] = [];
    await readStream(client, METHODS.listPlugins, create(ListPluginsRequestSchema), bounds, (one) => {
      seen.push(`${one.pluginId}@${one.version}`);
      return 'more';
    });
    expect(seen.sort()).toEqual(['0f2f3c1e-9a64-4a35-8a62-51f7d2f4ab01@1.0.0', 'core.hello@1.0.0', 'core.hello@1.1.0']);
  });
});

describe('publishing', () => {
  test('a stream of any chunk sizes is taken, one that lies about its digest or never ends is not', async () => {
    const send = (chunks: Iterable<{ data?: Uint8Array; digest?: string; pluginId?: string }>) => {
      function* messages() {
        for (const chunk of chunks) yield create(PluginChunkSchema, chunk);
      }
      return writeStream(client, METHODS.publishPlugin, messages(), bounds);
    };
    const cut = [HELLO.subarray(0, 10), HELLO.subarray(10)];
    expect(await send(cut.map((data) => ({ data })))).toMatchObject({ ok: true });
    const lie = await send([{ digest: digestOf(Buffer.from('x')), data: HELLO, pluginId: 'other' }]);
    expect(lie).toMatchObject({ ok: false, status: status.INVALID_ARGUMENT });
    expect(await send([])).toMatchObject({ ok: false, status: status.INVALID_ARGUMENT });
    function* endless() {
      for (let n = 0; n < 1_000; n++) yield { data: Buffer.alloc(1024 * 1024) };
    }
    expect(await send(endless())).toMatchObject({ ok: false, status: status.INVALID_ARGUMENT });
    expect(await metadata('core.hello')).toMatchObject({ ok: true });
  });

  test('a publisher that gives up in the middle publishes nothing', async () => {
    const stop = new AbortController();
    function* messages() {
      yield create(PluginChunkSchema, { pluginId: 'core.hello', data: HELLO });
      stop.abort();
    }
    const result = await writeStream(client, METHODS.publishPlugin, messages(), { ...bounds, signal: stop.signal });
    expect(result).toMatchObject({ kind: 'aborted' });
    expect(await jar('core.hello')).toBe(status.NOT_FOUND);
  });

  test('each refusal says what to do', async () => {
    await publish(HELLO);
    expect(await publish(bundleBytes({ code: 'other' }))).toMatchObject({
      reason: 'exists',
      message: expect.stringContaining('raise the version'),
    });
    expect(await publish(HELLO, '../x')).toMatchObject({ reason: 'usage' });
    expect(await publish(Buffer.from([0x50, 0x4b, 3, 4]))).toMatchObject({
      reason: 'invalid-bundle',
      message: expect.stringContaining('Java archive'),
    });
    expect(await publishBundle({ registry: 'nowhere', bundle: HELLO })).toMatchObject({ reason: 'usage' });
    expect(await publishBundle({ registry: '127.0.0.1:1', bundle: HELLO })).toMatchObject({
      reason: 'unavailable',
      message: expect.stringContaining('127.0.0.1:1'),
    });
    const old = await startPluginService(oldService([]).handlers);
    expect(await publishBundle({ registry: old.address, bundle: HELLO })).toMatchObject({
      reason: 'unsupported',
      message: expect.stringContaining('only serves plugins'),
    });
    await old.kill();
  });
});

describe('an id that is taken', () => {
  const [acme, other] = [newSigner(), newSigner()];
  const NEXT = bundleBytes({ version: '1.1.0' });
  async function publishSigned(bundle: Uint8Array, signer: { sign(bundle: Uint8Array): string } | undefined) {
    const signature = signer === undefined ? {} : { signature: signer.sign(bundle) };
    return await publishBundle({ registry: registry.address, bundle, ...signature });
  }

  test.each([
    ['with another key', other, [acme.keyId, other.keyId]],
    ['not at all', undefined, [acme.keyId, 'flowops plugin sign']],
  ])(
    'by a plugin that is signed, of which the new version is signed %s: nothing is published',
    async (_how, signer, told) => {
      await publishSigned(HELLO, acme);
      const refused = await publishSigned(NEXT, signer);
      expect(refused).toMatchObject({ ok: false, reason: 'taken' });
      for (const word of ['core.hello', '1.0.0', '--take-over', ...told]) {
        expect(refused.ok ? '' : refused.message).toContain(word);
      }
      expect(await metadata('core.hello')).toMatchObject({ value: { version: '1.0.0' } });
      expect(await metadata('core.hello', '1.1.0')).toMatchObject({ status: status.NOT_FOUND });
    },
  );

  test('by a plugin of another name: nothing is published until the publisher says that he means it', async () => {
    await publish(HELLO, 'chat');
    const bundle = bundleBytes({ name: 'acme.evil', version: '1.1.0' });
    const refused = await publish(bundle, 'chat');
    expect(refused).toMatchObject({ reason: 'taken', message: expect.stringMatching(/core\.hello.*acme\.evil.*--id/) });
    expect(await metadata('chat')).toMatchObject({ value: { version: '1.0.0' } });
    const meant = { registry: registry.address, bundle, pluginId: 'chat', takeOver: true };
    expect(await publishBundle(meant)).toMatchObject({ ok: true, latest: '1.1.0' });
  });

  test('is not for the same signer, nor for the same bytes signed anew, nor for the first who signs', async () => {
    expect(await publishSigned(HELLO, undefined)).toMatchObject({ ok: true });
    expect(await publishSigned(NEXT, acme)).toMatchObject({ ok: true });
    expect(await publishSigned(bundleBytes({ version: '1.2.0' }), acme)).toMatchObject({ ok: true });
    expect(await publishSigned(NEXT, other)).toMatchObject({ ok: true });
    expect(await publishSigned(HELLO, undefined)).toMatchObject({ ok: true });
  });
});

describe('withdrawing', () => {
  const withdraw = (version: string, options: { restore?: boolean; pluginId?: string } = {}) =>
    withdrawPlugin({ registry: registry.address, pluginId: 'core.hello', version, ...options });

  test('takes a version out of latest and leaves it to who names it; restoring undoes it; both tell the latest', async () => {
    await publish(HELLO);
    expect(await publish(bundleBytes({ version: '1.1.0' }))).toMatchObject({ latest: '1.1.0' });
    const id = pluginVersionUuid('core.hello', '1.1.0');
    for (const _again of [1, 2]) expect(await withdraw('1.1.0')).toMatchObject({ ok: true, id, latest: '1.0.0' });
    expect(await metadata('core.hello')).toMatchObject({ value: { version: '1.0.0' } });
    expect(await metadata('core.hello', '1.1.0')).toMatchObject({ value: { version: '1.1.0' } });
    expect(await withdraw('1.0.0')).toMatchObject({ ok: true, latest: null });
    for (const _again of [1, 2]) {
      expect(await withdraw('1.1.0', { restore: true })).toMatchObject({ ok: true, id, latest: '1.1.0' });
    }
    expect(await metadata('core.hello')).toMatchObject({ value: { version: '1.1.0' } });
  });

  test('holds when the same bytes are published again, and its number is not free for others', async () => {
    await publish(HELLO);
    await withdraw('1.0.0');
    expect(await publish(HELLO)).toMatchObject({ ok: true, latest: null });
    expect(await publish(bundleBytes({ code: 'other' }))).toMatchObject({
      reason: 'exists',
      message: expect.stringMatching(/withdrawn.*raise the version/),
    });
  });

  test('each refusal says what to change', async () => {
    await publish(HELLO);
    expect(await withdraw('7.0.0')).toMatchObject({ reason: 'not-found', message: expect.stringContaining('1.0.0') });
    expect(await withdraw('1.0.0', { pluginId: 'core.helo' })).toMatchObject({
      reason: 'not-found',
      message: expect.stringContaining('"core.hello"'),
    });
    expect(await withdraw('^1.0.0')).toMatchObject({ reason: 'usage', message: expect.stringContaining('1.2.0') });
    expect(await withdraw('1.0.0', { pluginId: '../x' })).toMatchObject({ reason: 'usage' });
    const there = { pluginId: 'core.hello', version: '1.0.0' };
    expect(await withdrawPlugin({ ...there, registry: '127.0.0.1:1' })).toMatchObject({ reason: 'unavailable' });
    expect(await withdrawPlugin({ ...there, registry: 'nowhere' })).toMatchObject({ reason: 'usage' });
    const old = await startPluginService(oldService([]).handlers);
    expect(await withdrawPlugin({ ...there, registry: old.address })).toMatchObject({
      reason: 'unsupported',
      message: expect.stringMatching(/cannot withdraw.*deny/),
    });
    await old.kill();
  });
});

describe('a client that stops in the middle', () => {
  test('of sending or of reading is cut off, and the others are served on', async () => {
    const dir = scratchFolder();
    const impatient = await serveRegistry({ dir, port: 0, maxCallMs: 200 });
    const slow = new Client(impatient.address, credentials.createInsecure());
    const head = bundleBytes();
    const bundle = Buffer.concat([head, Buffer.alloc(MAX_BUNDLE_BYTES - head.length, 0x20)]);
    const sending = Promise.withResolvers<number | undefined>();
    const { path, requestSerialize, responseDeserialize } = METHODS.publishPlugin;
    const upload = slow.makeClientStreamRequest(path, requestSerialize, responseDeserialize, (error) =>
      sending.resolve(error?.code),
    );
    upload.on('error', () => {});
    upload.write(create(PluginChunkSchema, { pluginId: 'core.hello', data: head }));
    expect(await sending.promise).toBe(status.DEADLINE_EXCEEDED);
    await new RegistryFolder(dir).publish({ bytes: bundle });

    // Plain HTTP/2: grpc-js would take everything off the wire, read or not.
    const session = http2.connect(`http://${impatient.address}`);
    const stalled = session.request({
      ':method': 'POST',
      ':path': METHODS.getPluginBundle.path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const ended = Promise.withResolvers<string | undefined>();
    stalled.on('trailers', (trailers) => ended.resolve(String(trailers['grpc-status'])));
    stalled.on('close', () => ended.resolve(undefined));
    const question = METHODS.getPluginBundle.requestSerialize(create(PluginRequestSchema, { pluginId: 'core.hello' }));
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(question.length, 1);
    stalled.end(Buffer.concat([prefix, question]));
    // Reads nothing until the server must have given up, then what had already come, then how it ended.
    setTimeout(() => stalled.resume(), 400);
    expect(await ended.promise).toBe(String(status.DEADLINE_EXCEEDED));
    session.close();
    const next = create(PluginRequestSchema, { pluginId: 'core.hello' });
    expect(await callUnary(slow, METHODS.getPluginMetadata, next, bounds)).toMatchObject({ ok: true });
    slow.close();
    await impatient.close();
  });
});

describe('the server', () => {
  test('tells its service and its messages by reflection, as tools ask for them', async () => {
    const proto = join(
      import.meta.dirname,
      '../../node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto',
    );
    const answers = await askReflection(proto, [
      { listServices: '*' },
      { fileContainingSymbol: 'com.flowops.grpc.PluginService' },
    ]);
    expect(answers[0]?.listServicesResponse?.service.map(({ name }) => name)).toContain(
      'com.flowops.grpc.PluginService',
    );
    const bytes = answers[1]?.fileDescriptorResponse?.fileDescriptorProto[0];
    const file = fromBinary(FileDescriptorProtoSchema, bytes ?? new Uint8Array());
    expect(file.service[0]?.method.map((method) => method.name)).toContain('GetPluginJar');
    expect(file.messageType.find((type) => type.name === 'PluginMetadata')?.field).toHaveLength(9);
  });

  test('a port that is taken is said with the port', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const address = taken.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await expect(serveRegistry({ dir: scratchFolder(), port })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(`127.0.0.1:${port}`),
    });
    taken.close();
  });

  test('closing twice is closing once, and the port is free again', async () => {
    await registry.close();
    await registry.close();
    const port = Number(registry.address.split(':')[1]);
    const again = await serveRegistry({ dir: scratchFolder(), port });
    expect(again.address).toBe(registry.address);
    await again.close();
  });
});

interface ReflectionAnswer {
  listServicesResponse?: { service: { name: string }[] };
  fileDescriptorResponse?: { fileDescriptorProto: Uint8Array[] };
}

/** A reflection client that knows only the public reflection.proto. */
async function askReflection(proto: string, questions: object[]): Promise<ReflectionAnswer[]> {
  const service = loadSync(proto)['grpc.reflection.v1.ServerReflection'];
  const method = service !== undefined && 'ServerReflectionInfo' in service ? service.ServerReflectionInfo : undefined;
  if (method === undefined || typeof method !== 'object' || !('path' in method)) throw new Error('no such method');
  const call = client.makeBidiStreamRequest<object, ReflectionAnswer>(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
  );
  const answers: ReflectionAnswer[] = [];
  for (const question of questions) call.write(question);
  call.end();
  for await (const answer of call) answers.push(answer);
  return answers;
}
