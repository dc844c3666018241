/** The `tests` of a policy: each entry is put to the policy itself, and what it expects must come out. */
import type { CompiledPolicy } from './decide.ts';
import { decide } from './decide.ts';
import type { Decision, RunDecision } from './decision.ts';
import type { KeyPath } from './document.ts';
import { LIMIT_NAMES, type PolicyTest } from './schema.ts';

/** Stands for a version or digest that an entry does not name. */
const ANY_VERSION = '1.0.0';
const ANY_DIGEST = `sha256:${'0'.repeat(64)}`;

export function checkTests(policy: CompiledPolicy, tests: readonly PolicyTest[]): { path: KeyPath; message: string }[] {
  return tests.flatMap((test, index) => {
    const decision = decide(policy, {
      pluginId: test.id ?? test.plugin,
      name: test.plugin,
      version: test.version ?? ANY_VERSION,
      digest: test.digest ?? ANY_DIGEST,
      publisher: test.publisher,
      permissions: { net: test.expect.net ?? [], secrets: test.expect.secrets ?? [] },
    });
    return unmet(test, decision).map(({ key, message }) => ({ path: ['tests', index, 'expect', ...key], message }));
  });
}

interface Unmet {
  readonly key: KeyPath;
  readonly message: string;
}

function unmet({ plugin, expect }: PolicyTest, decision: Decision): Unmet[] {
  if (decision.kind === 'refuse') {
    return expect.deny === true ? [] : [{ key: [], message: `${plugin} should run, but: ${decision.message}` }];
  }
  if (expect.deny === true)
    return [{ key: ['deny'], message: `${plugin} should be denied, but ${decision.rule} lets it run` }];
  const { net, secrets, limits, deny, ...plain } = expect;
  const found: Unmet[] = [];
  const compare = (key: KeyPath, wanted: unknown, given: unknown) => {
    if (wanted === undefined || wanted === given) return;
    found.push({ key, message: `${plugin} should get ${String(wanted)}, but ${decision.rule} gives ${String(given)}` });
  };
  compare(['tier'], plain.tier, decision.tier);
  compare(['jail'], plain.jail, decision.jail);
  compare(['wasm'], plain.wasm, decision.grants.wasm);
  compare(['concurrent'], plain.concurrent, decision.concurrent);
  for (const name of LIMIT_NAMES) compare(['limits', name], limits?.[name], limitOf(decision, name));
  return found;
}

function limitOf(decision: RunDecision, name: (typeof LIMIT_NAMES)[number]): number {
  return decision.limits[name];
}
