/** The inputs of a step about to start: the outputs it names come from this turn, the run's cache or the store. */
import type { Json } from '@flowops/proto/json.ts';
import { neededOutputs, type ResolvedInputs, resolveInputs } from '../scheduler/inputs.ts';
import type { RunState } from '../scheduler/state.ts';
import type { RunRef, RunStore } from '../store/run-store.ts';
import { OutputCache } from './output-cache.ts';
import { untilAvailable, type Waiting } from './until-available.ts';

export class StepInputs {
  readonly #run: RunRef;
  readonly #store: RunStore;
  readonly #waiting: Waiting;
  readonly #cache = new OutputCache();

  constructor(run: RunRef, store: RunStore, waiting: Waiting) {
    this.#run = run;
    this.#store = store;
    this.#waiting = waiting;
  }

  /** @param fresh `stepId.outputKey` → JSON text of outputs that this turn will commit. */
  async of(state: RunState, step: number, fresh: ReadonlyMap<string, string>): Promise<ResolvedInputs> {
    const { definition, graph } = state;
    const planned = definition.steps[step];
    if (planned === undefined) throw new Error(`no step ${step}`);
    const isStep = (name: string) => graph.indexOf.has(name);
    const known = new Map<string, string>();
    const absent: string[] = [];
    for (const name of neededOutputs(planned, isStep)) {
      const text = fresh.get(name) ?? this.#cache.get(name);
      if (text === undefined) absent.push(name);
      else known.set(name, text);
    }
    if (absent.length > 0) {
      const read = await untilAvailable(() => this.#store.readOutputs(this.#run, absent), this.#waiting);
      for (const [name, text] of read) known.set(name, text);
    }
    return resolveInputs(definition, planned, isStep, (stepId, key) => {
      const text = known.get(`${stepId}.${key}`);
      return text === undefined ? undefined : (JSON.parse(text) as Json); // written by readAttemptEnd
    });
  }

  /** Outputs that are durable now. */
  remember(outputs: ReadonlyMap<string, string>): void {
    for (const [name, text] of outputs) this.#cache.set(name, text);
  }
}
