/** Several commits of one run as one: what the store holds after the last of them. Pure. */
import type { RunPatch } from '../store/run-store.ts';

/** All of a run in one patch. */
export type WholeRun = RunPatch & { readonly definition: string };

/** @param whole with `outboxFrom`. @param later the commits since, in order. */
export function mergePatches(whole: WholeRun, later: readonly RunPatch[]): WholeRun {
  let { definition } = whole;
  const meta: Record<string, string> = { ...whole.meta };
  const steps: Record<string, string> = { ...whole.steps };
  const outputs: Record<string, string> = { ...whole.outputs };
  const events = [...(whole.events ?? [])];
  let outboxFrom = whole.outboxFrom ?? 1;
  for (const patch of later) {
    definition = patch.definition ?? definition;
    Object.assign(meta, patch.meta);
    Object.assign(steps, patch.steps);
    Object.assign(outputs, patch.outputs);
    // It is about the events before this commit's own.
    const acknowledged = Math.min(patch.acknowledged ?? 0, outboxFrom + events.length - 1);
    if (acknowledged >= outboxFrom) {
      events.splice(0, acknowledged + 1 - outboxFrom);
      outboxFrom = acknowledged + 1;
    }
    events.push(...(patch.events ?? []));
  }
  return { definition, meta, steps, outputs, events, outboxFrom };
}
