/** What a worker needs before it may run anybody's code. */

/** Versions below have known ways from the guest into the memory of the process. */
const MIN_ISOLATED_VM = [7, 0, 1] as const;

/** Why this process must not be a worker; undefined when it may. */
export function versionProblem(found: { isolatedVm: string; execArgv: readonly string[] }): string | undefined {
  const parts = /^(\d+)\.(\d+)\.(\d+)/.exec(found.isolatedVm)?.slice(1).map(Number);
  if (parts === undefined || isBelow(parts, MIN_ISOLATED_VM)) {
    return `isolated-vm ${found.isolatedVm} is installed; at least ${MIN_ISOLATED_VM.join('.')} is needed, older ones are not safe`;
  }
  if (!found.execArgv.includes('--no-node-snapshot')) {
    return 'node was started without --no-node-snapshot, without which isolated-vm dies in silence';
  }
  return undefined;
}

function isBelow(version: readonly number[], least: readonly number[]): boolean {
  for (let i = 0; i < least.length; i++) {
    const difference = (version[i] ?? 0) - (least[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
