/**
 * The two policies that need no file. Strict: every plugin goes to the container tier and is granted nothing; what a
 * host uses that was given no policy. Developer: for `flowops run` and `flowops sandbox run` without --policy on an
 * author's own machine; always shown to the person (`describeDeveloperPolicy`).
 */
import { compilePolicy, hashOf } from './compile.ts';
import type { CompiledPolicy } from './decide.ts';
import { DEFAULT_LIMITS } from './schema.ts';

export function strictPolicy(): CompiledPolicy {
  return compilePolicy({ version: 1 }, { file: undefined, lineOf: () => 0 });
}

/**
 * Everything to the isolate tier, jailed where this machine can jail; what the manifest asks for.
 * @param folders where the plugins come from, part of what the hash names.
 */
export function developerPolicy(folders: readonly string[] = []): CompiledPolicy {
  const strict = strictPolicy();
  return {
    ...strict,
    policyHash: hashOf({ developer: 1, folders: [...folders] }),
    defaults: { ...strict.defaults, place: 'developer policy', tier: 'isolate', jail: 'none', permissions: 'manifest' },
  };
}

/** What a person sees before the developer policy is used; the asked-for permissions as the manifest writes them. */
export function describeDeveloperPolicy(
  permissions: { readonly net: readonly string[]; readonly secrets: readonly string[] } = { net: [], secrets: [] },
): string[] {
  const { memoryMb, wallMs, cpuMs } = DEFAULT_LIMITS;
  const asked = [...permissions.net, ...permissions.secrets.map((name) => `secret ${name}`)];
  return [
    'developer policy (for your own plugins; give --policy FILE to use another):',
    `  isolate tier, ${memoryMb} MB, ${cpuMs / 1000} s of CPU, ${wallMs / 1000} s in all; jailed where this machine can`,
    asked.length === 0
      ? '  granted: nothing, and nothing is asked for'
      : `  granted as the manifest asks, once available (network and secrets are not in this release): ${asked.join(', ')}`,
  ];
}
