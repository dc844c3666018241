/**
 * The DAG of a run: steps by index, who waits for whom. Built from a definition in O(steps + edges) and never
 * changed; the counters that change live in state.ts.
 */

export interface GraphStep {
  readonly stepId: string;
  readonly after: readonly string[];
}

export interface Graph {
  readonly size: number;
  readonly indexOf: ReadonlyMap<string, number>;
  readonly stepIds: readonly string[];
  /** By step: the steps that wait for it. */
  readonly dependents: readonly (readonly number[])[];
  /** By step: how many steps it waits for. */
  readonly indegrees: Int32Array;
}

/** @throws when a step is named twice or waits for a step that is not there: plan.ts has checked both. */
export function buildGraph(steps: readonly GraphStep[]): Graph {
  const indexOf = new Map(steps.map((step, index) => [step.stepId, index]));
  if (indexOf.size !== steps.length) throw new Error('a step is named twice');
  const dependents: number[][] = steps.map(() => []);
  const indegrees = new Int32Array(steps.length);
  for (const [index, step] of steps.entries()) {
    indegrees[index] = step.after.length;
    for (const before of step.after) {
      const list = dependents[indexOf.get(before) ?? -1];
      if (list === undefined) throw new Error(`${step.stepId} waits for ${before}, which is not there`);
      list.push(index);
    }
  }
  return { size: steps.length, indexOf, stepIds: steps.map((step) => step.stepId), dependents, indegrees };
}

/**
 * One cycle as the path of its steps, first and last the same; undefined when there is none. Iterative, so that a
 * chain of any length is no matter for the stack. Names that are not steps are passed over.
 */
export function findCycle(steps: readonly GraphStep[]): readonly string[] | undefined {
  const afterOf = new Map(steps.map((step) => [step.stepId, step.after]));
  const done = new Set<string>();
  for (const { stepId: root } of steps) {
    if (done.has(root)) continue;
    const path: string[] = [root];
    const onPath = new Set(path);
    const cursors = [0];
    while (path.length > 0) {
      const current = path[path.length - 1] ?? '';
      const cursor = cursors[cursors.length - 1] ?? 0;
      const next = afterOf.get(current)?.[cursor];
      if (next === undefined) {
        done.add(current);
        onPath.delete(current);
        path.pop();
        cursors.pop();
        continue;
      }
      cursors[cursors.length - 1] = cursor + 1;
      // The path was walked against the arrows (from a step to what it waits for): turn it round for people.
      if (onPath.has(next)) return [...path.slice(path.indexOf(next)), next].reverse();
      if (done.has(next) || !afterOf.has(next)) continue;
      path.push(next);
      onPath.add(next);
      cursors.push(0);
    }
  }
  return undefined;
}
