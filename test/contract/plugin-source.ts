/** What every PluginSource promises (proto/plugin-source.ts), run against each implementation by plugin-source.test.ts. */
import { randomUUID } from 'node:crypto';
import { digestOf } from '@flowops/proto/ids.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bundleBytes } from '../support/bundle-bytes.ts';
import { newSigner } from '../support/signer.ts';

export interface SourceUnderTest {
  readonly source: PluginSource;
  /** A source of another process: nothing in memory, the same disk. */
  reopen(): Promise<PluginSource>;
  /** Adds a version while the source is open, or a signature to one; resolves when the source may be expected to see it. */
  publish(pluginId: string, bytes: Uint8Array, signature?: string): Promise<void>;
  /** A source of another machine: an empty cache. */
  elsewhere(): Promise<PluginSource>;
  /** Takes a version out of latest, or puts it back; absent where nothing can be withdrawn. */
  readonly withdraw?: (pluginId: string, version: string, options: { restore: boolean }) => Promise<void>;
  close(): Promise<void>;
}

export interface SourceTraits {
  /** Whether an exact version that is not the latest can be had; the two old calls of another server may not. */
  readonly keepsOldVersions: boolean;
  readonly canList: boolean;
  /** A folder of sources has no ids but the manifests' names. */
  readonly hasOwnIds: boolean;
  /** Whether latest is the highest release; another service decides by itself. */
  readonly knowsReleases: boolean;
  readonly canWithdraw: boolean;
  /** The two old calls know no signatures. */
  readonly keepsSignatures: boolean;
}

const signal = new AbortController().signal;
const FIRST = bundleBytes({ name: 'core.hello', version: '1.9.0', inputs: { text: { type: 'string' } } });
const SECOND = bundleBytes({ name: 'core.hello', version: '1.10.0' });

export function pluginSourceContract(open: () => Promise<SourceUnderTest>, traits: SourceTraits): void {
  let under: SourceUnderTest;
  beforeEach(async () => {
    under = await open();
    await under.publish('core.hello', FIRST);
  });
  afterEach(() => under.close());

  test('the latest is resolved to the digest of its bytes and its manifest', async () => {
    const resolved = await under.source.resolve('core.hello', undefined, signal);
    expect(resolved).toMatchObject({ ok: true, plugin: { pluginId: 'core.hello', digest: digestOf(FIRST) } });
    if (resolved.ok)
      expect(resolved.plugin.manifest.inputs).toMatchObject({ text: { type: 'string', required: true } });
  });

  test('the bytes of a resolved digest are those of that digest', async () => {
    const plugin = { pluginId: 'core.hello', version: '1.9.0', digest: digestOf(FIRST) };
    await under.source.resolve('core.hello', undefined, signal);
    const given = await under.source.bundle(plugin, signal);
    if (!given.ok) throw new Error(given.message);
    expect(given.bundle.digest).toBe(plugin.digest);
    expect(digestOf(given.bundle.bytes)).toBe(plugin.digest);
  });

  test('the bytes of a digest are given by a later process too, also after a newer version came', async () => {
    await under.source.resolve('core.hello', undefined, signal);
    await under.publish('core.hello', SECOND);
    const later = await under.reopen();
    const given = await later.bundle({ pluginId: 'core.hello', version: '1.9.0', digest: digestOf(FIRST) }, signal);
    expect(given).toMatchObject({ ok: true, bundle: { digest: digestOf(FIRST) } });
    await later.close();
  });

  const PINNED = { pluginId: 'core.hello', version: '1.9.0', digest: digestOf(FIRST) };
  const unsignedOnly = { meta: { skipReason: 'the two old calls of a plugin service know no signatures' } };
  test('what was published unsigned has no signature', async () => {
    await under.source.resolve('core.hello', undefined, signal);
    expect(await under.source.signature(PINNED)).toBeUndefined();
  });

  test.runIf(traits.keepsSignatures)(
    'a digest that is signed after it was resolved gets its signature with the next resolve, a later one instead of it',
    unsignedOnly,
    async () => {
      await under.source.resolve('core.hello', undefined, signal);
      // A folder of sources gives a digest from what it kept: it may be that of a file that has changed.
      const asked = traits.hasOwnIds ? [undefined, '1.9.0', digestOf(FIRST)] : [undefined, '1.9.0'];
      for (const version of asked) {
        const signature = newSigner().sign(FIRST);
        await under.publish('core.hello', FIRST, signature);
        const source = await under.reopen();
        await source.resolve('core.hello', version, signal);
        expect(await source.signature(PINNED)).toBe(signature);
        await source.close();
      }
    },
  );

  test.runIf(traits.keepsSignatures)(
    'a signature is known to a later process that resolves nothing, also after a newer version came',
    unsignedOnly,
    async () => {
      const signature = newSigner().sign(FIRST);
      await under.publish('core.hello', FIRST, signature);
      await (await under.reopen()).resolve('core.hello', undefined, signal);
      await under.publish('core.hello', SECOND);
      expect(await (await under.reopen()).signature(PINNED)).toBe(signature);
    },
  );

  test('an exact version and a digest are resolved', async () => {
    for (const version of ['1.9.0', digestOf(FIRST)]) {
      const resolved = await under.source.resolve('core.hello', version, signal);
      expect(resolved, version).toMatchObject({ ok: true, plugin: { digest: digestOf(FIRST) } });
    }
  });

  test('1.10.0 is later than 1.9.0, and 1.9.0 is still had by name where old versions are kept', async () => {
    await under.publish('core.hello', SECOND);
    const source = await under.reopen();
    expect(await source.resolve('core.hello', undefined, signal)).toMatchObject({
      ok: true,
      plugin: { digest: digestOf(SECOND) },
    });
    const old = await source.resolve('core.hello', '1.9.0', signal);
    if (traits.keepsOldVersions) expect(old).toMatchObject({ ok: true, plugin: { digest: digestOf(FIRST) } });
    else expect(old).toMatchObject({ ok: false, code: 'PLUGIN_NOT_FOUND' });
    await source.close();
  });

  test('an unknown plugin is not found, and the message names it and the nearest where there is a list', async () => {
    const missing = await under.source.resolve('core.helo', undefined, signal);
    expect(missing).toMatchObject({ ok: false, code: 'PLUGIN_NOT_FOUND' });
    if (missing.ok) return;
    expect(missing.message).toContain('"core.helo"');
    if (traits.canList) expect(missing.message).toContain('"core.hello"');
  });

  test('an unknown version and an unknown digest are not found', async () => {
    for (const version of ['9.9.9', digestOf(SECOND)]) {
      const missing = await under.source.resolve('core.hello', version, signal);
      expect(missing, version).toMatchObject({ ok: false, code: 'PLUGIN_NOT_FOUND' });
    }
  });

  test('an id or a version that can be none is not found, whatever is in it', async () => {
    for (const id of ['', '../../etc/passwd', 'x'.repeat(100_000), '..', 'CORE.HELLO']) {
      const missing = await under.source.resolve(id, undefined, signal);
      expect(missing, id.slice(0, 20)).toMatchObject({ ok: false, code: 'PLUGIN_NOT_FOUND' });
      if (!missing.ok) expect(missing.message.length).toBeLessThan(1_000);
    }
    expect(await under.source.resolve('core.hello', '../1.9.0', signal)).toMatchObject({ code: 'PLUGIN_NOT_FOUND' });
  });

  test('a caller who gave up is told so and nothing throws', async () => {
    const resolved = await under.source.resolve('core.hello', undefined, AbortSignal.abort());
    expect(resolved.ok || resolved.code).toBe(resolved.ok ? true : 'CANCELLED');
  });

  test('names lists what there is, or nothing where the source cannot list', async () => {
    expect(await under.source.names(signal)).toEqual(traits.canList ? ['core.hello'] : []);
  });

  const ownIdsOnly = { meta: { skipReason: 'a folder of sources has no ids but the names of its plugins' } };
  test.runIf(traits.hasOwnIds)(
    'a plugin published under a UUID is found by it, not by its name',
    ownIdsOnly,
    async () => {
      const id = '0f2f3c1e-9a64-4a35-8a62-51f7d2f4ab01';
      await under.publish(id, SECOND);
      const resolved = await under.source.resolve(id, undefined, signal);
      expect(resolved).toMatchObject({
        ok: true,
        plugin: { digest: digestOf(SECOND), manifest: { name: 'core.hello' } },
      });
    },
  );

  test('what names no single version is not found, and the message says what to write', async () => {
    for (const version of ['^1.0.0', '1.x', '*', '1.9', 'latest', 'v1.9.0', '', 'sha256:abc', randomUUID()]) {
      const refused = await under.source.resolve('core.hello', version, signal);
      expect(refused, version).toMatchObject({ ok: false, code: 'PLUGIN_NOT_FOUND' });
      if (!refused.ok) expect(refused.message, version).toMatch(/exactly|write 1\.9\.0|leave it out|64 hex/);
    }
  });

  const ownLatest = { meta: { skipReason: 'the two old calls leave it to the service what its latest is' } };
  test.runIf(traits.knowsReleases)(
    'a pre-release is not the latest however high it is, and had by its version and its digest',
    ownLatest,
    async () => {
      const next = bundleBytes({ name: 'core.hello', version: '2.0.0-rc.1' });
      await under.publish('core.hello', next);
      const source = await under.reopen();
      const latest = await source.resolve('core.hello', undefined, signal);
      expect(latest).toMatchObject({ ok: true, plugin: { digest: digestOf(FIRST) } });
      for (const version of ['2.0.0-rc.1', digestOf(next)]) {
        const resolved = await source.resolve('core.hello', version, signal);
        expect(resolved, version).toMatchObject({ ok: true, plugin: { digest: digestOf(next) } });
      }
      await source.close();
    },
  );

  test.runIf(traits.knowsReleases)(
    'a plugin with pre-releases only has no latest, and the message names them',
    ownLatest,
    async () => {
      await under.publish('core.next', bundleBytes({ name: 'core.next', version: '0.1.0-beta.2' }));
      const source = await under.reopen();
      const latest = await source.resolve('core.next', undefined, signal);
      expect(latest).toMatchObject({ code: 'PLUGIN_NOT_FOUND', message: expect.stringContaining('0.1.0-beta.2') });
      expect(await source.resolve('core.next', '0.1.0-beta.2', signal)).toMatchObject({ ok: true });
      await source.close();
    },
  );

  const canWithdraw = { meta: { skipReason: 'nothing can be withdrawn there' } };
  test.runIf(traits.canWithdraw)(
    'a withdrawn version is not the latest until it is restored; who names or pinned it has it, on any machine',
    canWithdraw,
    async () => {
      await under.publish('core.hello', SECOND);
      await under.withdraw?.('core.hello', '1.10.0', { restore: false });
      for (const source of [await under.reopen(), await under.elsewhere()]) {
        const latest = await source.resolve('core.hello', undefined, signal);
        expect(latest).toMatchObject({ plugin: { digest: digestOf(FIRST) } });
        await source.close();
      }
      const second = { pluginId: 'core.hello', version: '1.10.0', digest: digestOf(SECOND) };
      for (const version of ['1.10.0', digestOf(SECOND)]) {
        const source = await under.elsewhere();
        const named = await source.resolve('core.hello', version, signal);
        expect(named, version).toMatchObject({ plugin: { digest: second.digest } });
        await source.close();
      }
      const pinning = await under.elsewhere();
      expect(await pinning.bundle(second, signal)).toMatchObject({ ok: true, bundle: { digest: second.digest } });
      await pinning.close();
      await under.withdraw?.('core.hello', '1.10.0', { restore: true });
      const after = await under.reopen();
      expect(await after.resolve('core.hello', undefined, signal)).toMatchObject({ plugin: { digest: second.digest } });
      await after.close();
    },
  );

  test.runIf(traits.canWithdraw)(
    'with every release withdrawn there is no latest, whatever was resolved here before',
    canWithdraw,
    async () => {
      expect(await under.source.resolve('core.hello', undefined, signal)).toMatchObject({ ok: true });
      await under.withdraw?.('core.hello', '1.9.0', { restore: false });
      for (const source of [await under.reopen(), await under.elsewhere()]) {
        expect(await source.resolve('core.hello', undefined, signal)).toMatchObject({
          code: 'PLUGIN_NOT_FOUND',
          message: expect.stringMatching(/no release that is not withdrawn.*1\.9\.0 \(withdrawn\)/),
        });
        await source.close();
      }
    },
  );

  test.runIf(traits.hasOwnIds)(
    'a digest names nothing under the id of a plugin that it was not published as',
    ownIdsOnly,
    async () => {
      const other = bundleBytes({ name: 'core.hello', version: '7.0.0' });
      await under.publish('core.other', other);
      const source = await under.reopen();
      expect(await source.resolve('core.other', undefined, signal)).toMatchObject({ ok: true });
      const foreign = await source.resolve('core.hello', digestOf(other), signal);
      expect(foreign).toMatchObject({ ok: false, code: 'PLUGIN_NOT_FOUND' });
      await source.close();
    },
  );

  test('closing twice is closing once', async () => {
    const source = await under.reopen();
    await source.close();
    await source.close();
  });
}
