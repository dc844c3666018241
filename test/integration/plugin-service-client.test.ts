/** The engine's client against plugin services that are old, strict, slow, lying, broken, endless or gone. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { BundleCache } from '@flowops/engine/plugins/bundle-cache.ts';
import type { PluginServiceOptions } from '@flowops/engine/plugins/plugin-service-source.ts';
import { ANSWER_FRESH_MS, PluginServiceSource } from '@flowops/engine/plugins/plugin-service-source.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { PluginChunkSchema, PluginJarResponseSchema } from '@flowops/proto/plugin_service_pb.js';
import { publishBundle } from '@flowops/sdk/registry/publish-bundle.ts';
import { serveRegistry } from '@flowops/sdk/registry/registry-server.ts';
import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { scratchFolder } from '../services/scratch.ts';
import { bundleBytes } from '../support/bundle-bytes.ts';
import type { TestPluginService } from '../support/plugin-service.ts';
import { oldMetadata, oldService, startPluginService } from '../support/plugin-service.ts';

const signal = new AbortController().signal;
const JAR = bundleBytes();
const HELLO = { id: '5d1a2a6e-0f65-4f0c-9d0b-0d8a4b1c2d3e', pluginId: 'core.hello', version: '1.0.0', jar: JAR };
const MIB = 1024 * 1024;

const toClose: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

async function serve(...args: Parameters<typeof startPluginService>): Promise<TestPluginService> {
  const service = await startPluginService(...args);
  toClose.push(() => service.kill());
  return service;
}

function client(address: string, options: Partial<PluginServiceOptions> = {}): PluginServiceSource {
  const cacheDir = options.cacheDir ?? scratchFolder();
  const cache = new BundleCache({ dir: join(cacheDir, 'bundles') });
  const source = new PluginServiceSource({ address, cache, cacheDir, ...options });
  toClose.push(() => source.close());
  return source;
}

const hello = (source: PluginServiceSource, version?: string) => source.resolve('core.hello', version, signal);

/** Describes core.hello 1.0.0 truly; what the bytes are is the test's. */
const trueMetadata = oldService([HELLO]).handlers;

describe('a service that knows only the two old calls', () => {
  test('is asked once for the jar, however many runs begin, and whatever the process', async () => {
    const old = oldService([HELLO]);
    const { address } = await serve(old.handlers);
    const cacheDir = scratchFolder();
    let nowMs = 0;
    const source = client(address, { cacheDir, now: () => nowMs });
    await Promise.all([hello(source), hello(source), hello(source)]);
    nowMs += ANSWER_FRESH_MS + 1;
    expect(await hello(source)).toMatchObject({ ok: true, plugin: { digest: digestOf(JAR) } });
    expect(await hello(client(address, { cacheDir }))).toMatchObject({ ok: true });
    expect(old.asked.filter(({ call }) => call === 'jar')).toEqual([
      { call: 'jar', pluginId: 'core.hello', id: HELLO.id },
    ]);
    expect(old.asked.filter(({ call }) => call === 'metadata')).toHaveLength(3);
  });

  test('a new latest is seen after two seconds', async () => {
    const old = oldService([HELLO]);
    const { address } = await serve(old.handlers);
    let nowMs = 0;
    const source = client(address, { now: () => nowMs });
    await hello(source);
    const jar = bundleBytes({ version: '2.0.0' });
    old.versions.push({ ...HELLO, id: '6d1a2a6e-0f65-4f0c-9d0b-0d8a4b1c2d3e', version: '2.0.0', jar });
    expect(await hello(source)).toMatchObject({ plugin: { digest: digestOf(JAR) } });
    nowMs += ANSWER_FRESH_MS + 1;
    expect(await hello(source)).toMatchObject({ plugin: { digest: digestOf(jar) } });
    expect(await hello(source, '1.0.0')).toMatchObject({ plugin: { digest: digestOf(JAR) } });
  });

  test('one that fails on an empty id is asked with the id known, and what it says otherwise is told', async () => {
    const lenient = oldService([HELLO]);
    const first = await startPluginService(lenient.handlers);
    const cacheDir = scratchFolder();
    expect(await hello(client(first.address, { cacheDir }))).toMatchObject({ ok: true });
    await first.kill();

    const strict = oldService([HELLO], { strict: true });
    await serve(strict.handlers, Number(first.address.split(':')[1]));
    expect(await hello(client(first.address, { cacheDir }))).toMatchObject({ ok: true });
    expect(await hello(client(first.address, { cacheDir }), '1.0.0')).toMatchObject({ ok: true });
    const stranger = await hello(client(first.address));
    expect(stranger).toMatchObject({ ok: false, message: expect.stringContaining('Invalid UUID string') });
  });

  test('a start of many plugins asks for all at the same time', async () => {
    const versions = Array.from({ length: 20 }, (_, n) => ({
      ...HELLO,
      pluginId: `p${n}`,
      jar: bundleBytes({ name: `p${n}` }),
    }));
    const old = oldService(versions);
    let open = 0;
    let most = 0;
    const { getPluginMetadata, getPluginJar } = old.handlers;
    const { address } = await serve({
      ...(getPluginJar && { getPluginJar }),
      getPluginMetadata: (call, callback) => {
        most = Math.max(most, ++open);
        setImmediate(() =>
          getPluginMetadata?.(call, (...answer) => {
            open--;
            callback(...answer);
          }),
        );
      },
    });
    const source = client(address);
    const results = await Promise.all(versions.map(({ pluginId }) => source.resolve(pluginId, undefined, signal)));
    expect(results.every((result) => result.ok)).toBe(true);
    expect(most).toBeGreaterThan(1);
  });
});

describe('what was seen before', () => {
  test('does not become the latest of a service that has none any more', async () => {
    const old = oldService([HELLO]);
    const { address } = await serve(old.handlers);
    const cacheDir = scratchFolder();
    expect(await hello(client(address, { cacheDir }))).toMatchObject({ ok: true });
    old.versions.length = 0;
    old.asked.length = 0;
    expect(await hello(client(address, { cacheDir }))).toMatchObject({ code: 'PLUGIN_NOT_FOUND' });
    expect(old.asked.map(({ id }) => id)).toEqual(['']);
  });

  test('is the highest release for a service that cannot be asked for its latest, not what came last', async () => {
    const versions = ['1.9.0', '1.10.0', '2.0.0-rc.1', '1.2.0'].map((version, n) => ({
      ...HELLO,
      id: `${n}d1a2a6e-0f65-4f0c-9d0b-0d8a4b1c2d3e`,
      version,
      jar: bundleBytes({ version }),
    }));
    const first = oldService([]);
    const lenient = await startPluginService(first.handlers);
    const cacheDir = scratchFolder();
    for (const version of versions) {
      first.versions.push(version);
      expect(await hello(client(lenient.address, { cacheDir }))).toMatchObject({ ok: true });
    }
    await lenient.kill();
    await serve(oldService(versions, { strict: true }).handlers, Number(lenient.address.split(':')[1]));
    expect(await hello(client(lenient.address, { cacheDir }))).toMatchObject({
      plugin: { manifest: { version: '1.10.0' } },
    });
  });
});

describe('a digest that is not in the cache', () => {
  test('is found among many versions by what the service tells of each, without their bytes', async () => {
    const registry = await serveRegistry({ dir: scratchFolder(), port: 0 });
    toClose.push(() => registry.close());
    const versions = Array.from({ length: 40 }, (_, n) => bundleBytes({ version: `1.${n}.0` }));
    for (const bundle of versions) await publishBundle({ registry: registry.address, bundle });
    const cacheDir = scratchFolder();
    const oldest = digestOf(versions[0] ?? new Uint8Array());
    expect(await hello(client(registry.address, { cacheDir }), oldest)).toMatchObject({
      plugin: { digest: oldest, manifest: { version: '1.0.0' } },
    });
    // Of the latest, since it is looked at first, and of the one.
    expect(await readdir(join(cacheDir, 'bundles', 'sha256'))).toHaveLength(2);
  });
});

describe('a service whose bytes are not a bundle of the version', () => {
  async function jarIs(jar: Uint8Array) {
    const { address } = await serve({
      ...trueMetadata,
      getPluginJar: (_call, callback) => callback(null, create(PluginJarResponseSchema, { jar })),
    });
    return await hello(client(address));
  }

  test('a Java archive is invalid, by that name', async () => {
    expect(await jarIs(Buffer.from([0x50, 0x4b, 3, 4, 1, 2, 3]))).toMatchObject({
      code: 'PLUGIN_INVALID',
      message: expect.stringContaining('Java archive'),
    });
  });

  test('junk, nothing, and a jar of 40 MB are invalid; the last says the cap', async () => {
    expect(await jarIs(Buffer.from('\0\x01junk'))).toMatchObject({ code: 'PLUGIN_INVALID' });
    expect(await jarIs(Buffer.alloc(0))).toMatchObject({ code: 'PLUGIN_INVALID' });
    expect(await jarIs(Buffer.alloc(40 * MIB))).toMatchObject({
      code: 'PLUGIN_INVALID',
      message: expect.stringContaining('16 MiB'),
    });
  });

  test('a version that is not the described one is invalid, and so is another plugin', async () => {
    expect(await jarIs(bundleBytes({ version: '1.0.1' }))).toMatchObject({
      code: 'PLUGIN_INVALID',
      message: expect.stringMatching(/1\.0\.0.*1\.0\.1/),
    });
    const { address } = await serve({
      getPluginMetadata: (_call, callback) => callback(null, oldMetadata({ ...HELLO, pluginId: 'core.other' })),
    });
    expect(await hello(client(address))).toMatchObject({ code: 'PLUGIN_INVALID' });
  });

  test('a version asked for by its id and described as another is invalid', async () => {
    const { address } = await serve({
      ...trueMetadata,
      getPluginMetadata: ({ request }, callback) =>
        callback(null, oldMetadata({ ...HELLO, id: request.id, version: '3.0.0' })),
    });
    expect(await hello(client(address), '1.0.0')).toMatchObject({
      code: 'PLUGIN_INVALID',
      message: expect.stringContaining('3.0.0'),
    });
  });

  test('other bytes under a pinned digest are not given out', async () => {
    const { address } = await serve(trueMetadata);
    const pinned = {
      pluginId: 'core.hello',
      version: '1.0.0',
      digest: digestOf(Buffer.from('what the run began with')),
    };
    expect(await client(address).bundle(pinned, signal)).toMatchObject({ ok: false, code: 'PLUGIN_INVALID' });
  });
});

describe('a service whose stream is broken', () => {
  test('bytes that are not the digest announced are invalid, a stream cut short too', async () => {
    const { address } = await serve({
      ...trueMetadata,
      getPluginBundle: (call) => {
        call.write(create(PluginChunkSchema, { digest: digestOf(JAR), data: JAR.subarray(0, 20) }));
        call.end();
      },
    });
    expect(await hello(client(address))).toMatchObject({
      code: 'PLUGIN_INVALID',
      message: expect.stringContaining(digestOf(JAR)),
    });
  });

  test('a stream without end is cut at the cap', async () => {
    let sent = 0;
    const { address } = await serve({
      ...trueMetadata,
      getPluginBundle: (call) => {
        const pump = () => {
          while (!call.cancelled) {
            sent++;
            if (!call.write(create(PluginChunkSchema, { data: Buffer.alloc(MIB) }))) {
              call.once('drain', pump);
              return;
            }
          }
        };
        pump();
      },
    });
    expect(await hello(client(address))).toMatchObject({
      code: 'PLUGIN_INVALID',
      message: expect.stringContaining('16 MiB'),
    });
    expect(sent).toBeLessThan(200);
  });

  test('a stream of nothing is invalid', async () => {
    const { address } = await serve({ ...trueMetadata, getPluginBundle: (call) => call.end() });
    expect(await hello(client(address))).toMatchObject({ code: 'PLUGIN_INVALID' });
  });

  test('a service that goes away in the middle and comes back is asked again', async () => {
    let times = 0;
    let service: TestPluginService | undefined;
    const handlers: Parameters<typeof startPluginService>[0] = {
      ...trueMetadata,
      getPluginBundle: (call) => {
        call.write(create(PluginChunkSchema, { digest: digestOf(JAR), data: JAR.subarray(0, 20) }));
        if (times++ > 0) {
          call.write(create(PluginChunkSchema, { data: JAR.subarray(20) }));
          call.end();
          return;
        }
        const port = Number(service?.address.split(':')[1]);
        void service?.kill().then(() => serve(handlers, port));
      },
    };
    service = await serve(handlers);
    expect(await hello(client(service.address))).toMatchObject({ ok: true, plugin: { digest: digestOf(JAR) } });
    expect(times).toBe(2);
  });
});

describe('a service that does not answer', () => {
  test('is unavailable by the name of its setting when it is down', async () => {
    expect(await hello(client('127.0.0.1:1'))).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('127.0.0.1:1 (PLUGIN_SERVICE_ADDRESS)'),
    });
  });

  test('a caller who gives up while it is down does not wait out the retries', async () => {
    const stop = new AbortController();
    const resolving = client('127.0.0.1:1').resolve('core.hello', undefined, stop.signal);
    stop.abort();
    expect(await resolving).toMatchObject({ code: 'CANCELLED' });
  });

  test('is unavailable after its deadline when it is slow, and served on a new connection after', async () => {
    let isSlow = true;
    const { getPluginMetadata, getPluginJar } = trueMetadata;
    const { address } = await serve({
      ...(getPluginJar && { getPluginJar }),
      getPluginMetadata: (call, callback) => {
        if (!isSlow) getPluginMetadata?.(call, callback);
      },
    });
    const source = client(address, { deadlines: { metadataMs: 100, bytesMs: 5_000 } });
    expect(await hello(source)).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('did not answer in time'),
    });
    isSlow = false;
    expect(await hello(source)).toMatchObject({ ok: true });
  });

  test('who waits while the source is closed is told so at once, and so is who comes after', async () => {
    const asked = Promise.withResolvers<void>();
    const { address } = await serve({ getPluginMetadata: () => asked.resolve() });
    const source = client(address);
    const waiting = hello(source);
    await asked.promise;
    await source.close();
    expect(await waiting).toMatchObject({ code: 'CANCELLED' });
    expect(await hello(source)).toMatchObject({ code: 'CANCELLED' });
    expect(await source.names(signal)).toEqual([]);
  });

  test('an exact version that is in the cache is served while the service is away, the latest is not', async () => {
    const service = await serve(oldService([HELLO]).handlers);
    const cacheDir = scratchFolder();
    await hello(client(service.address, { cacheDir }));
    await service.kill();
    const later = client(service.address, { cacheDir });
    const [exact, latest] = await Promise.all([hello(later, '1.0.0'), hello(later)]);
    expect(exact).toMatchObject({ ok: true, plugin: { digest: digestOf(JAR) } });
    expect(latest).toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
  });

  test('an error of its own is told in its own words, without control characters', async () => {
    const { address } = await serve({
      getPluginMetadata: (_call, callback) =>
        callback({ code: status.PERMISSION_DENIED, details: 'no\u001b[31mway\nout' }),
    });
    const refused = await hello(client(address));
    expect(refused).toMatchObject({ code: 'SANDBOX_UNAVAILABLE', message: expect.stringContaining('no [31mway out') });
  });

  test('what is no plugin service at all is said to be none', async () => {
    const { address } = await serve({});
    expect(await hello(client(address))).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('no plugin service'),
    });
  });
});
