/**
 * The `tests` of a policy: each entry is put to the policy itself, and what it expects must come out. `net` and
 * `secrets` are all that the rule gives, no more and no less, whatever a manifest would ask for.
 */
import type { CompiledPolicy, Terms } from './decide.ts';
import { decide, termsFor } from './decide.ts';
import type { Decision, PolicyRequest, RunDecision } from './decision.ts';
import type { KeyPath } from './document.ts';
import { LIMIT_NAMES, type PolicyTest } from './schema.ts';

/** Stands for a version or digest that an entry does not name. */
const ANY_VERSION = '1.0.0';
const ANY_DIGEST = `sha256:${'0'.repeat(64)}`;

export function checkTests(policy: CompiledPolicy, tests: readonly PolicyTest[]): { path: KeyPath; message: string }[] {
  return tests.flatMap((test, index) => {
    const request: PolicyRequest = {
      pluginId: test.id ?? test.plugin,
      name: test.plugin,
      version: test.version ?? ANY_VERSION,
      digest: test.digest ?? ANY_DIGEST,
      publisher: test.publisher,
      permissions: { net: [], secrets: [] },
    };
    const found = unmet(test, decide(policy, request), termsFor(policy, request));
    return found.map(({ key, message }) => ({ path: ['tests', index, 'expect', ...key], message }));
  });
}

interface Unmet {
  readonly key: KeyPath;
  readonly message: string;
}

function unmet({ plugin, expect }: PolicyTest, decision: Decision, terms: Terms): Unmet[] {
  if (decision.kind === 'refuse') {
    if (expect.deny !== true) return [{ key: [], message: `${plugin} should run, but: ${decision.message}` }];
    const others = Object.keys(expect).filter((key) => key !== 'deny');
    return others.map((key) => ({ key: [key], message: `a denied plugin gets nothing: leave ${key} out, or deny` }));
  }
  if (expect.deny === true)
    return [{ key: ['deny'], message: `${plugin} should be denied, but ${decision.rule} lets it run` }];
  const found: Unmet[] = [];
  const compare = (key: KeyPath, wanted: unknown, given: unknown) => {
    if (wanted === undefined || wanted === given) return;
    found.push({ key, message: `${plugin} should get ${String(wanted)}, but ${decision.rule} gives ${String(given)}` });
  };
  const { limits, net, secrets, container } = expect;
  compare(['tier'], expect.tier, decision.tier);
  compare(['jail'], expect.jail, decision.jail);
  compare(['freshness'], expect.freshness, decision.freshness);
  compare(['concurrent'], expect.concurrent, decision.concurrent);
  compare(['wasm'], expect.wasm, decision.grants.wasm);
  if (net !== undefined) compare(['net'], setText(net), setText(given(terms).net));
  if (secrets !== undefined) compare(['secrets'], setText(secrets), setText(given(terms).secrets));
  for (const name of LIMIT_NAMES) compare(['limits', name], limits?.[name], limitOf(decision, name));
  for (const key of ['runtime', 'pids', 'cpus', 'tmpfsMb'] as const) {
    compare(['container', key], container?.[key], decision.container[key]);
  }
  return found;
}

function given({ permissions }: Terms): { net: readonly string[]; secrets: readonly string[] } {
  if (permissions.kind === 'manifest') return { net: [], secrets: [] }; // the developer policy has no tests
  return { net: permissions.net, secrets: permissions.secrets.map(({ name }) => name) };
}

/** In one order, each once. */
function setText(texts: readonly string[]): string {
  return `[${[...new Set(texts)].sort().join(', ')}]`;
}

function limitOf(decision: RunDecision, name: (typeof LIMIT_NAMES)[number]): number {
  return decision.limits[name];
}
