/**
 * The two policies that need no file. Strict: every plugin goes to the container tier and is granted nothing; what a
 * host uses that was given no policy. Developer: for `flowops run` and `flowops sandbox run` without --policy on an
 * author's own machine; always shown to the person (developer-text.ts).
 */
import { compilePolicy, hashOf } from './compile.ts';
import type { CompiledPolicy } from './decide.ts';
import { DEVELOPER_RULE } from './developer-text.ts';

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
    defaults: {
      ...strict.defaults,
      place: DEVELOPER_RULE,
      tier: 'isolate',
      jail: 'none',
      permissions: { kind: 'manifest' },
    },
    usesHistory: false, // a folder of one's own: names change while one writes
  };
}
