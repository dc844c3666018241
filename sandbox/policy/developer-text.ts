/** The developer policy in words, for whoever starts something under it. Loads nothing of the policy itself. */
import { DEFAULT_LIMITS } from './default-limits.ts';

/** What decides under it, in receipts and messages; a rule of a file is called by its number and place. */
export const DEVELOPER_RULE = 'developer policy';

/** What a person sees before the developer policy is used; the asked-for permissions as the manifest writes them. */
export function describeDeveloperPolicy(
  permissions: { readonly net: readonly string[]; readonly secrets: readonly string[] } = { net: [], secrets: [] },
): string[] {
  const { memoryMb, wallMs, cpuMs } = DEFAULT_LIMITS;
  const asked = [...permissions.net, ...permissions.secrets.map((name) => `secret ${name}`)];
  return [
    `${DEVELOPER_RULE} (for your own plugins; give --policy FILE to use another):`,
    `  isolate tier, ${memoryMb} MB, ${cpuMs / 1000} s of CPU, ${wallMs / 1000} s in all; jailed where this machine can`,
    asked.length === 0
      ? '  granted: nothing, and nothing is asked for'
      : `  granted as the manifest asks: ${asked.join(', ')}`,
  ];
}
