/**
 * Cases 44, 46 and 64: bundles that are not what they were signed as, not what they say, or not bundles at all, given to
 * a real host by an engine that believes anything. Each ends before any code of it runs, and a neighbour runs meanwhile.
 */
import { existsSync } from 'node:fs';
import { digestOf } from '@flowops/proto/ids.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PolicyHost, type StepChanges } from '../support/policy-host.ts';
import { newSigner } from '../support/signer.ts';
import { bundleOf } from '../support/worker-host.ts';

const DAY_MS = 24 * 3_600_000;
const dateOf = (ms: number) => new Date(ms).toISOString().slice(0, 10);
const [ACME, OLD, LOST, STRANGER] = [newSigner(), newSigner(), newSigner(), newSigner()];
const CANARY = 'canary-5d41402abc4b2a76';

interface Wish {
  readonly name?: string;
  readonly version?: string;
  /** The body of its run function. */
  readonly body?: string;
}

function plugin({
  name = 'acme.hello',
  version = '1.4.0',
  body = `logger.info('it ran'); return { o: 1 };`,
}: Wish = {}) {
  return Buffer.from(bundleOf(body, { name, version, outputs: { o: { type: 'json' } } }));
}

const HELLO = plugin();
/** Holds the one place of its publisher until it is told to end. */
const HOLDER = plugin({
  name: 'acme.holder',
  body: `await new Promise((resolve) => setTimeout(resolve, 25_000)); return { o: 1 };`,
});
const REVOKED = plugin({ body: 'return { o: "revoked" };' });

function policy(more: { keys?: string; digests?: string[] } = {}): string {
  const keys = [
    `{ key: "${ACME.key}" }`,
    `{ key: "${OLD.key}", notAfter: ${dateOf(Date.now() - DAY_MS)} }`,
    `{ key: "${LOST.key}" }`,
  ];
  return `version: 1
publishers:
  acme: { keys: [${keys.join(', ')}], names: ["acme.*"] }
revoked: { keys: [${more.keys ?? `"${LOST.keyId}"`}], digests: [${(more.digests ?? [digestOf(REVOKED)]).join(', ')}] }
plugins: { pinned.id: acme.hello }
minVersion: { acme.slack: 1.4.0 }
rules:
  - match: { publisher: acme }
    tier: isolate
    jail: none
    concurrent: 1
  - match: { plugin: open.plugin, unsigned: true }
    tier: isolate
    jail: none
  - match: { plugin: "acme.*", unsigned: true }
    deny: unsigned plugins do not run here
  - match: { plugin: "core.*", unsigned: true }
    deny: unsigned plugins do not run here
`;
}

let real: PolicyHost;
beforeAll(async () => {
  real = await PolicyHost.start(policy(), { CANARY_SECRET: CANARY });
});
afterAll(async () => {
  const { pid } = real.host;
  await real.close();
  expect(existsSync(`/proc/${pid}`)).toBe(false);
});

const signedRun = (bytes: Buffer, changes: StepChanges = {}) =>
  real.run(bytes, { signature: ACME.sign(bytes), ...changes });

/** The neighbour runs at the same time; nothing of the hostile bundle does. */
async function expectRefused(bytes: Uint8Array, changes: StepChanges, code: string, message: RegExp): Promise<void> {
  const [hostile, neighbour] = await Promise.all([real.run(bytes, changes), signedRun(HELLO)]);
  expect(hostile.outcome).toMatchObject({ status: 'FAILED', code, message: expect.stringMatching(message) as string });
  expect([hostile.hasStarted, hostile.logs]).toEqual([false, []]);
  expect(neighbour.outcome).toMatchObject({ status: 'COMPLETED', receipt: { publisher: 'acme' } });
  expect(JSON.stringify([hostile, neighbour])).not.toContain(CANARY);
}

describe('a signed bundle', () => {
  it('runs as its publisher, and the receipt says so', async () => {
    const { outcome } = await signedRun(HELLO);
    expect(outcome).toMatchObject({
      status: 'COMPLETED',
      outputsJson: '{"o":1}',
      receipt: { publisher: 'acme', bundleDigest: digestOf(HELLO), tier: 'isolate' },
    });
  });

  const changed = plugin({ body: 'return { o: 2 };' });
  const later = plugin({ version: '1.5.0' });
  it.each<[string, Buffer, string, RegExp]>([
    ['was changed after signing', changed, ACME.sign(HELLO), /does not hold/],
    ['is signed as another version', HELLO, ACME.sign(HELLO, { version: '1.5.0' }), /does not hold/],
    ['carries the signature of its next version', HELLO, ACME.sign(later), /does not hold/],
    ['is signed as another plugin', HELLO, ACME.sign(HELLO, { name: 'acme.other' }), /does not hold/],
    ['is signed by nobody we know', HELLO, STRANGER.sign(HELLO), /no publisher/],
    ['claims our key for a stranger', HELLO, STRANGER.sign(HELLO).replace(STRANGER.keyId, ACME.keyId), /does not hold/],
    ['is signed with a key after its last day', HELLO, OLD.sign(HELLO), /was good until/],
    ['is signed with a revoked key', HELLO, LOST.sign(HELLO), /revoked by revoked\.keys/],
    ['has a signature of a megabyte', HELLO, `{"keyId":"${'0'.repeat(1 << 20)}"}`, /at most 1024/],
    ['has junk for a signature', HELLO, '\u001b[31m{"__proto__":{}}', /no JSON/],
    ['has no signature', HELLO, '', /unsigned plugins do not run here/],
  ])('that %s is refused', async (_, bytes, signature, message) => {
    await expectRefused(bytes, { signature }, 'POLICY_DENIED', message);
  });

  it('outside the names of its publisher counts as unsigned', async () => {
    const bytes = plugin({ name: 'core.hello' });
    await expectRefused(bytes, { signature: ACME.sign(bytes) }, 'POLICY_DENIED', /whose names are acme\.\*/);
  });

  it('that counts as unsigned gets what unsigned ones get, and its receipt says why', async () => {
    const open = plugin({ name: 'open.plugin' });
    const { outcome } = await signedRun(open);
    expect(outcome).toMatchObject({
      status: 'COMPLETED',
      receipt: { publisher: null, signatureProblem: expect.stringContaining('none of them') as string },
    });
    const unsigned = await real.run(open);
    expect(unsigned.outcome).toMatchObject({ status: 'COMPLETED', receipt: { publisher: null } });
    expect(JSON.stringify(unsigned.outcome)).not.toContain('signatureProblem');
  });

  it('of another version than the one asked for is refused', async () => {
    const changes = { signature: ACME.sign(HELLO), pluginVersion: '1.5.0' };
    await expectRefused(HELLO, changes, 'PLUGIN_INVALID', /1\.5\.0 was asked for/);
  });

  it('that is older than the lowest version, told as the latest, is refused', async () => {
    const old = plugin({ name: 'acme.slack', version: '1.3.9' });
    await expectRefused(old, { signature: ACME.sign(old) }, 'POLICY_DENIED', /older than 1\.4\.0/);
    const good = plugin({ name: 'acme.slack', version: '1.4.0' });
    expect((await signedRun(good)).outcome).toMatchObject({ status: 'COMPLETED' });
  });

  it("of a sibling under a plugin's id is refused", async () => {
    const sibling = plugin({ name: 'acme.sibling' });
    const changes = { signature: ACME.sign(sibling), pluginId: 'pinned.id' };
    await expectRefused(sibling, changes, 'POLICY_DENIED', /calls itself acme\.sibling/);
    expect((await signedRun(HELLO, { pluginId: 'pinned.id' })).outcome).toMatchObject({ status: 'COMPLETED' });
  });

  it('of a sibling is refused under an id that was first used for another', async () => {
    expect((await signedRun(HELLO, { pluginId: 'first.use' })).outcome).toMatchObject({ status: 'COMPLETED' });
    const sibling = plugin({ name: 'acme.sibling' });
    const changes = { signature: ACME.sign(sibling), pluginId: 'first.use' };
    await expectRefused(sibling, changes, 'POLICY_DENIED', /it was acme\.hello when it was first used/);
  });

  it('that is revoked by its digest is refused though its signature holds', async () => {
    await expectRefused(REVOKED, { signature: ACME.sign(REVOKED) }, 'POLICY_DENIED', /revoked by revoked\.digests/);
  });

  it('that was held unsigned runs once it is signed, and not with the next bad signature', async () => {
    const late = plugin({ name: 'acme.late' });
    const steps = [
      { signature: '', publisher: undefined },
      { signature: ACME.sign(late), publisher: 'acme' },
      { signature: STRANGER.sign(late), publisher: undefined },
    ];
    for (const { signature, publisher } of steps) {
      const { outcome } = await real.run(late, { signature });
      if (publisher === undefined) expect(outcome).toMatchObject({ status: 'FAILED', code: 'POLICY_DENIED' });
      else expect(outcome).toMatchObject({ status: 'COMPLETED', receipt: { publisher } });
    }
  });
});

describe('bytes', () => {
  const MANIFEST = '//! flowops-plugin {"name":"acme.junk","version":"1.0.0"}';
  it.each<[string, Uint8Array, RegExp]>([
    ['nothing', Buffer.alloc(0), /empty/],
    ['binary junk', Buffer.alloc(100_000, 0xfe), /first line/],
    ['a Java archive', Buffer.from([0x50, 0x4b, 3, 4, 0, 0]), /Java archive/],
    ['50 MB', Buffer.alloc(50_000_000, 0x20), /50000000 bytes; at most/],
    ['a manifest line without an end', Buffer.from(MANIFEST), /no end/],
    ['a manifest line that is no JSON', Buffer.from(`${MANIFEST.slice(0, -1)}\n`), /not JSON/],
    ['a manifest line of half a megabyte', Buffer.from(`${MANIFEST}${' '.repeat(1 << 19)}\n`), /no end/],
    ['a manifest with __proto__', Buffer.from(`//! flowops-plugin {"__proto__":{}}\n`), /__proto__/],
    ['a manifest without a version', Buffer.from('//! flowops-plugin {"name":"acme.junk"}\n'), /version/],
    ['a name with a newline', Buffer.from('//! flowops-plugin {"name":"acme\\nx","version":"1.0.0"}\n'), /name/],
  ])('that are %s are refused', async (_, bytes, message) => {
    await expectRefused(bytes, {}, 'PLUGIN_INVALID', message);
  });

  it('of another digest than the one announced are refused, also when they are as long', async () => {
    const other = Buffer.from(HELLO.toString().replace('o: 1', 'o: 7'));
    expect(other.length).toBe(HELLO.length);
    const wanted = plugin({ name: 'acme.wanted' });
    const digest = digestOf(wanted);
    const lie: StepChanges = {
      digest,
      signature: ACME.sign(wanted),
      bundle: async () => ({ ok: true, bundle: { digest, bytes: other } }),
    };
    await expectRefused(wanted, lie, 'PLUGIN_INVALID', /do not have the digest/);
    expect((await signedRun(wanted)).outcome).toMatchObject({ status: 'COMPLETED' });
  });

  it('of two bundles of equal length, large enough for a code cache, are never taken for each other', async () => {
    const filler = Array.from({ length: 3_000 }, (_, n) => `const part${n} = ${n};`).join('\n');
    const large = (value: number) => {
      const text = plugin({ name: 'acme.equal', body: `${filler}\nreturn { o: ${value} };` }).toString();
      return Buffer.from(`${text.replace('export default {', 'var task = {')}export {\n  task as default\n};\n`);
    };
    const [one, two] = [large(1), large(2)];
    expect(one.length).toBe(two.length);
    for (const [bytes, value] of [
      [one, 1],
      [two, 2],
      [one, 1],
      [two, 2],
      [two, 2],
      [one, 1],
    ] as const) {
      const { outcome } = await signedRun(bytes);
      expect(outcome).toMatchObject({ status: 'COMPLETED', outputsJson: `{"o":${value}}` });
    }
    await expectRefused(two, { signature: ACME.sign(one) }, 'POLICY_DENIED', /does not hold/);
  });
});

describe('a reloaded policy', () => {
  const victim = plugin({
    name: 'acme.victim',
    body: `logger.info('it ran'); return { o: 1 };`,
  });
  const isRefused = async () => (await signedRun(victim)).outcome.status === 'FAILED';
  const isTaken = async () => (await signedRun(victim)).outcome.status === 'COMPLETED';

  it('stops a bundle that is in the cache and waits in an isolate, by its digest and by its key', async () => {
    for (const after of [policy({ digests: [digestOf(victim)] }), policy({ keys: `"${ACME.key}"` })]) {
      // Twice: the second runs in an isolate that was made ahead, and leaves another one behind.
      for (let n = 0; n < 2; n++) expect(await isTaken()).toBe(true);
      await real.reload(after, isRefused);
      const { outcome, hasStarted, logs } = await signedRun(victim);
      expect(outcome).toMatchObject({ code: 'POLICY_DENIED', message: expect.stringMatching(/revoked/) as string });
      expect([hasStarted, logs]).toEqual([false, []]);
      await real.reload(policy(), isTaken);
    }
  });

  it('stops what waits for its turn, and leaves alone what runs', async () => {
    const started = Promise.withResolvers<void>();
    const request = real.request(HOLDER, { signature: ACME.sign(HOLDER) });
    const running = real.host.run(request, { onStarted: started.resolve });
    await started.promise;
    const waiting = signedRun(victim);
    await real.rewrite(policy({ digests: [digestOf(victim)] }));
    expect(await waiting).toMatchObject({
      outcome: { status: 'FAILED', code: 'POLICY_DENIED' },
      hasStarted: false,
      logs: [],
    });
    running.cancel({ graceMs: 0, reason: 'it ran until now' });
    expect(await running.outcome).toMatchObject({ status: 'CANCELLED', message: 'it ran until now' });
    await real.reload(policy(), isTaken);
  });
});
