/** Cases 44 to 47, 64, 65 and 67: bundles, signatures, policies and texts that are not what they say. At a real host. */
import { digestOf } from '@flowops/proto/ids.ts';
import { MAX_BUNDLE_BYTES, manifestSchema } from '@flowops/proto/manifest.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import { parsePolicy } from '../../policy/load.ts';
import type { Bench } from '../bench-contract.ts';
import { type HostileBundle, moduleOf, wholeBundle } from '../bundle-text.ts';
import type { HostCase } from '../case.ts';
import { makeSigner, signed } from '../signer.ts';
import { runStep, type StepOptions } from '../step.ts';
import { tryFalseCodeCache } from './code-cache.ts';
import { tryReloadWhileIsolateWaits } from './reload.ts';

const NOT_AFTER_YEARS_AGO = '2001-01-01';

function plugin(name: string, version = '1.0.0', body = "return { o: 'ran' };"): HostileBundle {
  const manifest = manifestSchema.parse({ name, version, outputs: { o: { type: 'string' } } });
  return wholeBundle(manifest, moduleOf(body, manifest));
}

function raw(bytes: Buffer): HostileBundle {
  const manifest = manifestSchema.parse({ name: 'doctor.raw', version: '1.0.0' });
  return { manifest, bytes, digest: digestOf(bytes) };
}

/** Steps on one host, with what each must end with. A neighbour must work after all of them. */
async function tryAll(
  bench: Bench,
  policy: object,
  steps: readonly { what: string; bundle: HostileBundle; expect: readonly string[]; options?: StepOptions }[],
): Promise<string[]> {
  const host = await bench.openHost({ policy: JSON.stringify(policy) });
  const problems: string[] = [];
  for (const { what, bundle, expect, options } of steps) {
    const run = await runStep(host.process, bundle, options);
    if (!expect.includes(run.ending))
      problems.push(`${what}: ended ${run.ending} (${run.message}), not ${expect.join(' or ')}`);
    if (run.lines.length > 0) problems.push(`${what}: code of it ran`);
  }
  const neighbour = await runStep(host.process, bench.neighbour);
  if (neighbour.ending !== 'COMPLETED') problems.push(`a neighbour ended ${neighbour.ending}: ${neighbour.message}`);
  return [...problems, ...(await host.close())];
}

const NEIGHBOUR_RULE = { match: { plugin: 'doctor.neighbour', unsigned: true }, tier: 'isolate' };
/** Nothing of a bundle that is refused may run. */
const LOUD = "console.log('it ran'); return { o: 'ran' };";

export const POLICY_CASES: readonly HostCase[] = [
  {
    kind: 'host',
    id: '44',
    title: 'a bundle changed after signing, signed by another key or as another version has no publisher',
    run: async (bench) => {
      const [acme, stranger] = [makeSigner(), makeSigner()];
      const good = plugin('acme.good');
      const changed = plugin('acme.good', '1.0.0', LOUD);
      const other = plugin('acme.good', '1.0.1', LOUD);
      const policy = {
        version: 1,
        publishers: { acme: { keys: [{ key: acme.key }], names: ['acme.*'] } },
        rules: [{ match: { publisher: 'acme' }, tier: 'isolate' }, NEIGHBOUR_RULE, ...unsignedDenied()],
      };
      const signature = signed(good, acme);
      return tryAll(bench, policy, [
        { what: 'as it was signed', bundle: good, expect: ['COMPLETED'], options: { signature } },
        { what: 'changed bytes', bundle: changed, expect: ['POLICY_DENIED'], options: { signature } },
        { what: 'another version', bundle: other, expect: ['POLICY_DENIED'], options: { signature } },
        {
          what: 'a wrong key',
          bundle: changed,
          expect: ['POLICY_DENIED'],
          options: { signature: signed(changed, stranger) },
        },
        { what: 'no signature', bundle: changed, expect: ['POLICY_DENIED'] },
        {
          what: 'junk',
          bundle: changed,
          expect: ['POLICY_DENIED'],
          options: { signature: '{"keyId":1}' },
        },
      ]);
    },
  },
  {
    kind: 'host',
    id: '45',
    title: 'a manifest that asks for more than the policy grants does not start',
    run: async (bench) => {
      const manifest = manifestSchema.parse({
        name: 'doctor.greedy',
        version: '1.0.0',
        permissions: { net: ['example.com:443'], secrets: ['CANARY'] },
        outputs: { o: { type: 'json' } },
      });
      const greedy = wholeBundle(manifest, moduleOf(LOUD, manifest));
      const rule = { match: { plugin: 'doctor.greedy', unsigned: true }, tier: 'isolate' };
      const less = { net: ['other.example:443'], secrets: [{ name: 'CANARY', hosts: [] }] };
      const step = { what: 'a greedy plugin', bundle: greedy, expect: ['POLICY_DENIED'] };
      return [
        ...(await tryAll(bench, { version: 1, rules: [rule, NEIGHBOUR_RULE] }, [step])),
        ...(await tryAll(bench, { version: 1, rules: [{ ...rule, grants: less }, NEIGHBOUR_RULE] }, [step])),
      ];
    },
  },
  {
    kind: 'host',
    id: '46',
    title: 'what is no bundle is PLUGIN_INVALID before any code runs',
    run: async (bench) => {
      const lying = wholeBundle(
        manifestSchema.parse({ name: 'doctor.lying', version: '1.0.0' }),
        moduleOf(LOUD, manifestSchema.parse({ name: 'doctor.other', version: '2.0.0' })),
      );
      const invalid = ['PLUGIN_INVALID'];
      const policy = { version: 1, rules: [{ match: { plugin: '*', unsigned: true }, tier: 'isolate' }] };
      return tryAll(bench, policy, [
        { what: 'empty', bundle: raw(Buffer.alloc(0)), expect: invalid },
        {
          what: 'binary junk',
          bundle: raw(Buffer.from([...Array(4096).keys()].map((n) => (n * 7919) % 256))),
          expect: invalid,
        },
        {
          what: 'a broken manifest line',
          bundle: raw(Buffer.from('//! flowops-plugin {"name":\nexport default 1;')),
          expect: invalid,
        },
        {
          what: 'a manifest line without end',
          bundle: raw(Buffer.from(`//! flowops-plugin ${'{'.repeat(300_000)}`)),
          expect: invalid,
        },
        {
          what: 'too large',
          bundle: raw(Buffer.alloc(MAX_BUNDLE_BYTES + 1, 32)),
          expect: invalid,
        },
        { what: 'an archive', bundle: raw(Buffer.from('PK\x03\x04 and more')), expect: invalid },
        { what: 'code that declares something else', bundle: lying, expect: invalid },
        {
          what: 'other bytes than its digest',
          bundle: { ...plugin('doctor.a'), bytes: plugin('doctor.b').bytes },
          expect: invalid,
        },
        { what: 'no JavaScript', bundle: wholeBundle(lying.manifest, 'this is ( not'), expect: invalid },
      ]);
    },
  },
  {
    kind: 'host',
    id: '47',
    title: 'a policy with a rule that can never match, or a key that nobody knows, does not load',
    run: async () =>
      mustNotLoad([
        { rules: [{ match: { plugin: 'a.*' } }, { match: { plugin: 'a.b' } }] },
        { rules: [{ match: { plugin: 'a.*' }, tiers: 'isolate' }] },
        { rule: [] },
        { rules: [{ match: { publisher: 'acme', unsigned: true }, tier: 'isolate' }] },
        { rules: [{ match: { plugin: 'a' }, limits: { memoryMb: 1 } }] },
        { rules: [{ match: { plugin: 'a' }, tier: 'isolate' }] },
        { tests: [{ plugin: 'a.b', expect: { tier: 'isolate' } }] },
      ]),
  },
  {
    kind: 'host',
    id: '64',
    title: 'old versions, siblings, expired keys, revoked digests and false code caches do not run, wherever they wait',
    run: async (bench) => {
      const [acme, expired, lost] = [makeSigner(), makeSigner(), makeSigner()];
      const old = plugin('acme.tool', '1.0.0', LOUD);
      const current = plugin('acme.tool', '2.0.0');
      const sibling = plugin('acme.else', '2.0.0', LOUD);
      const revoked = plugin('acme.revoked', '1.0.0', LOUD);
      const policy = {
        version: 1,
        publishers: {
          acme: {
            keys: [{ key: acme.key }, { key: expired.key, notAfter: NOT_AFTER_YEARS_AGO }, { key: lost.key }],
            names: ['acme.*'],
          },
        },
        revoked: { keys: [lost.key], digests: [revoked.digest] },
        plugins: { tool: 'acme.tool' },
        minVersion: { 'acme.tool': '1.5.0' },
        rules: [{ match: { publisher: 'acme' }, tier: 'isolate' }, NEIGHBOUR_RULE, ...unsignedDenied()],
      };
      const refused = ['POLICY_DENIED'];
      const steps = await tryAll(bench, policy, [
        {
          what: 'the version in force',
          bundle: current,
          expect: ['COMPLETED'],
          options: { signature: signed(current, acme), pluginId: 'tool' },
        },
        {
          what: 'an older signed version',
          bundle: old,
          expect: refused,
          options: { signature: signed(old, acme), pluginId: 'tool' },
        },
        {
          what: 'another version than asked for',
          bundle: current,
          expect: ['PLUGIN_INVALID'],
          options: { signature: signed(current, acme), version: '2.0.1' },
        },
        {
          what: "a sibling's bundle under this id",
          bundle: sibling,
          expect: refused,
          options: { signature: signed(sibling, acme), pluginId: 'tool' },
        },
        {
          what: 'a key after its last day',
          bundle: sibling,
          expect: refused,
          options: { signature: signed(sibling, expired) },
        },
        { what: 'a revoked key', bundle: sibling, expect: refused, options: { signature: signed(sibling, lost) } },
        { what: 'a revoked digest', bundle: revoked, expect: refused, options: { signature: signed(revoked, acme) } },
      ]);
      return [...steps, ...(await tryFalseCodeCache(bench))];
    },
  },
  {
    kind: 'host',
    id: '65',
    title:
      'names in other letters, look-alikes and unsigned names match no rule, and no isolate waits with former grants',
    run: async (bench) => {
      const acme = makeSigner();
      const problems = mustNotLoad([
        { rules: [{ match: { plugin: 'Core.x' } }] },
        { rules: [{ match: { plugin: 'cоre.x' } }] }, // a Cyrillic letter
        { rules: [{ match: { plugin: 'core x' } }] },
        { rules: [{ match: { plugin: '*.core' } }] },
      ]);
      const policy = {
        version: 1,
        publishers: { acme: { keys: [{ key: acme.key }], names: ['core.*'] } },
        rules: [
          { match: { plugin: 'core.*', publisher: 'acme' }, tier: 'isolate' },
          NEIGHBOUR_RULE,
          ...unsignedDenied(),
        ],
      };
      const unsigned = plugin('core.x', '1.0.0', LOUD);
      const upper = raw(Buffer.from(`//! flowops-plugin {"name":"Core.x","version":"1.0.0"}\nexport default 1;`));
      return [
        ...problems,
        ...(await tryAll(bench, policy, [
          { what: 'core.* unsigned', bundle: unsigned, expect: ['POLICY_DENIED'] },
          { what: 'Core.x', bundle: upper, expect: ['PLUGIN_INVALID'] },
        ])),
        ...(await tryReloadWhileIsolateWaits(bench)),
      ];
    },
  },
  {
    kind: 'host',
    id: '67',
    title: 'control characters of a plugin reach a person shown, not obeyed',
    run: async (bench) => {
      const hostile = '\u001b[2J\u001b]8;;http://evil/\u0007x\u001b]52;c;AAAA\u0007\r\nfake line \u202e\u2066';
      const body = `const h = ${JSON.stringify(hostile)}; logger.info(h, { [h]: h }); context.progress(0.5, h); throw new Error(h);`;
      const host = await bench.openHost({
        policy: JSON.stringify({
          version: 1,
          rules: [{ match: { plugin: 'doctor.*', unsigned: true }, tier: 'isolate' }],
        }),
      });
      const run = await runStep(host.process, plugin('doctor.text', '1.0.0', body));
      const texts = [
        run.message,
        ...run.lines.flatMap(({ message, fields }) => [message, JSON.stringify(fields ?? {})]),
      ];
      const obeyed = texts.map((text) => showControls(text)).filter((text) => STEERING.test(text));
      const problems = obeyed.length === 0 ? [] : ['text of a plugin would steer a terminal'];
      if (run.ending !== 'PLUGIN_ERROR') problems.push(`it ended ${run.ending}`);
      if (run.lines.length === 0) problems.push('its lines did not come out');
      return [...problems, ...(await host.close())];
    },
  },
];

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const STEERING = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

/** A rule that denies is looked at first: it must not hold those that are signed. */
function unsignedDenied(): object[] {
  return [
    { match: { plugin: 'acme.*', unsigned: true }, deny: 'unsigned' },
    { match: { plugin: 'core.*', unsigned: true }, deny: 'unsigned' },
  ];
}

function mustNotLoad(policies: readonly object[]): string[] {
  return policies.flatMap((policy) => {
    const text = JSON.stringify({ version: 1, ...policy });
    return parsePolicy('policy.yaml', text).ok ? [`this policy loads: ${text}`] : [];
  });
}
