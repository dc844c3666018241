/**
 * Random histories of several engines on one store, compared after every call with a model of a page: whatever the
 * order of commits, repeats, lost answers, changes of owner, retirements and marks, both stores answer as the model does.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Ownership, RunPatch, RunRef, RunStore } from '../../engine/store/run-store.ts';
import type { OpenStore } from './run-store.ts';

const RUNS = 250;
/** Every call is compared, and every write of a file waits for a disk that others use as well. */
const TIMEOUT_MS = 120_000;
const HOUR_MS = 60 * 60 * 1000;
const PARTITIONS = ['0', '1'];
const RUN_NAMES = ['a', 'b'];

interface ModelRun {
  readonly partition: string;
  epoch: number;
  revision: number;
  since: number;
  head: number;
  isRetired: boolean;
  definition: string;
  readonly outbox: string[];
  readonly fields: Map<string, string>;
  readonly steps: Map<string, string>;
  readonly outputs: Map<string, string>;
  readonly notes: string[];
}

/** What RunStore promises (S1–S5), with nothing of how a store does it. */
class Model {
  readonly epochs = new Map<string, number>();
  readonly runs = new Map<string, ModelRun>();
  readonly marks = new Set<string>();

  create(name: string, owner: Ownership, definition: string, patch: RunPatch, ignoresMark: boolean): string {
    if (owner.epoch < (this.epochs.get(owner.partition) ?? 0)) return 'fenced';
    if (this.runs.has(name)) return 'exists';
    if (this.marks.has(name) && !ignoresMark) return 'stop-marked';
    this.marks.delete(name);
    const run: ModelRun = {
      partition: owner.partition,
      epoch: owner.epoch,
      revision: 1,
      since: 1,
      head: 1,
      isRetired: false,
      definition,
      outbox: [],
      fields: new Map(),
      steps: new Map(),
      outputs: new Map(),
      notes: [],
    };
    this.runs.set(name, run);
    apply(run, patch);
    return 'created';
  }

  claim(name: string, owner: Ownership): string {
    const run = this.runs.get(name);
    if (run === undefined) return 'missing';
    if (run.partition !== owner.partition || owner.epoch < run.epoch) return 'fenced';
    if (run.isRetired && owner.epoch < (this.epochs.get(owner.partition) ?? 0)) return 'fenced';
    if (owner.epoch > run.epoch) run.since = run.revision;
    run.epoch = owner.epoch;
    run.isRetired = false;
    return 'claimed';
  }

  commit(name: string, epoch: number, revision: number, patch: RunPatch): string {
    const run = this.runs.get(name);
    if (run === undefined) return 'missing';
    if (epoch < run.epoch) return 'fenced';
    if (revision > run.revision) return `behind ${run.revision}`;
    if (revision < run.revision) return epoch === run.epoch && revision >= run.since ? 'ok' : 'fenced';
    if (run.isRetired) return 'missing';
    if (epoch > run.epoch) run.since = run.revision;
    run.epoch = epoch;
    apply(run, patch);
    run.revision += 1;
    return 'ok';
  }

  retire(name: string, owner: Ownership): string {
    const run = this.runs.get(name);
    if (owner.epoch < (this.epochs.get(owner.partition) ?? 0)) return 'fenced';
    if (run !== undefined && (run.partition !== owner.partition || owner.epoch < run.epoch)) return 'fenced';
    if (run !== undefined) run.isRetired = true;
    return 'ok';
  }

  note(name: string, text: string): void {
    const run = this.runs.get(name);
    if (run?.isRetired === false) run.notes.push(text);
  }

  restore(owner: Ownership): string {
    const known = this.epochs.get(owner.partition) ?? 0;
    this.epochs.set(owner.partition, Math.max(known, owner.epoch));
    return owner.epoch < known ? 'fenced' : 'ok';
  }

  active(partition: string): readonly string[] {
    return [...this.runs]
      .flatMap(([name, run]) => (run.partition === partition && !run.isRetired ? [name] : []))
      .sort();
  }
}

function apply(run: ModelRun, patch: RunPatch): void {
  const last = run.head + run.outbox.length - 1;
  const gone = Math.max(0, Math.min(patch.acknowledged ?? 0, last) - run.head + 1);
  run.outbox.splice(0, gone);
  run.head += gone;
  run.outbox.push(...(patch.events ?? []));
  for (const [name, value] of Object.entries(patch.meta ?? {})) run.fields.set(name, value);
  for (const [name, value] of Object.entries(patch.steps ?? {})) run.steps.set(name, value);
  for (const [name, value] of Object.entries(patch.outputs ?? {})) run.outputs.set(name, value);
  run.definition = patch.definition ?? run.definition;
}

const word = fc.constantFrom('a', 'b', 'ü', '', '{"x":1}');
const words = (names: readonly string[]) => fc.dictionary(fc.constantFrom(...names), word, { maxKeys: 2 });
const optional = { requiredKeys: [] };
const patches: fc.Arbitrary<RunPatch> = fc
  .record(
    {
      meta: words(['status', 'n']),
      steps: words(['s1', 's2', '__proto__']),
      outputs: words(['s1.x', 's2.y']),
      events: fc.array(word, { maxLength: 3 }),
      acknowledged: fc.nat(12),
      definition: word,
    },
    optional,
  )
  .map((patch) => patch);

type Action =
  | { readonly do: 'open'; readonly partition: string }
  | {
      readonly do: 'create';
      readonly run: string;
      readonly owner: number;
      readonly patch: RunPatch;
      readonly ignore: boolean;
    }
  | { readonly do: 'claim'; readonly run: string; readonly owner: number }
  | {
      readonly do: 'commit';
      readonly run: string;
      readonly owner: number;
      readonly offset: number;
      readonly patch: RunPatch;
    }
  | { readonly do: 'repeat' }
  | { readonly do: 'retire'; readonly run: string; readonly owner: number }
  | { readonly do: 'note'; readonly run: string; readonly text: string }
  /** A store that went back: the owner whose epoch it forgot gives it back. */
  | { readonly do: 'restore'; readonly owner: number; readonly ahead: number }
  | { readonly do: 'mark'; readonly run: string };

const run = fc.constantFrom(...RUN_NAMES);
/** Counted back from the newest ownership: 0 mostly, so that histories get somewhere. */
const owner = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(3) });
/** From the revision in the model: 0 is right. */
const offset = fc.oneof(
  { weight: 6, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: -3, max: 2 }) },
);
const actions: fc.Arbitrary<Action> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ do: fc.constant('open' as const), partition: fc.constantFrom(...PARTITIONS) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('create' as const), run, owner, patch: patches, ignore: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('claim' as const), run, owner }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('commit' as const), run, owner, offset, patch: patches }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('repeat' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('retire' as const), run, owner }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('note' as const), run, text: word }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restore' as const), owner, ahead: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('mark' as const), run }) },
);

export function runStoreModelContract(name: string, open: () => Promise<OpenStore>): void {
  describe(`${name}, against a model`, () => {
    let opened: OpenStore;
    let round = 0;
    beforeAll(async () => {
      opened = await open();
    });
    afterAll(() => opened.dispose());

    it('answers as the model does, whatever engines do in whatever order', { timeout: TIMEOUT_MS }, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(actions, { minLength: 5, maxLength: 40 }), async (history) => {
          round += 1;
          await play(opened.store, `round-${round}`, history);
        }),
        { numRuns: RUNS },
      );
    });
  });
}

async function play(store: RunStore, round: string, history: readonly Action[]): Promise<void> {
  const model = new Model();
  const owners: Ownership[] = [];
  const refOf = (name: string): RunRef => ({ flowId: round, runId: name });
  const ownerOf = (back: number) => owners[Math.max(0, owners.length - 1 - back)] ?? never();
  let last: (() => Promise<void>) | undefined;

  const openPartition = async (partition: string) => {
    const opened = await store.openPartition(`${round}-${partition}`);
    expect(opened.epoch).toBeGreaterThan(model.epochs.get(opened.partition) ?? 0);
    model.epochs.set(opened.partition, opened.epoch);
    owners.push(opened);
  };
  await openPartition('0');

  for (const action of history) {
    switch (action.do) {
      case 'open':
        await openPartition(action.partition);
        break;
      case 'create': {
        const by = ownerOf(action.owner);
        const initial = { ...action.patch, definition: action.patch.definition ?? 'D' };
        const { result } = await store.create(refOf(action.run), by, initial, { ignoreStopMark: action.ignore });
        expect(result).toBe(model.create(action.run, by, initial.definition, action.patch, action.ignore));
        break;
      }
      case 'claim': {
        const by = ownerOf(action.owner);
        const claimed = await store.claim(refOf(action.run), by);
        expect(claimed.result).toBe(model.claim(action.run, by));
        if (claimed.result === 'claimed') expect(claimed.run.notes).toEqual(model.runs.get(action.run)?.notes);
        break;
      }
      case 'commit': {
        const by = ownerOf(action.owner);
        const revision = Math.max(0, (model.runs.get(action.run)?.revision ?? 1) + action.offset);
        const commit = async () => {
          const answer = await store.commit(refOf(action.run), by.epoch, revision, action.patch);
          const text = answer.result === 'behind' ? `behind ${answer.revision}` : answer.result;
          expect(text).toBe(model.commit(action.run, by.epoch, revision, action.patch));
        };
        await commit();
        last = commit;
        break;
      }
      case 'repeat':
        await last?.();
        break;
      case 'retire': {
        const by = ownerOf(action.owner);
        expect(await store.retire(refOf(action.run), by, HOUR_MS)).toBe(model.retire(action.run, by));
        break;
      }
      case 'note':
        await store.note(refOf(action.run), model.runs.get(action.run)?.partition ?? '0', action.text);
        model.note(action.run, action.text);
        break;
      case 'restore': {
        const { partition, epoch } = ownerOf(action.owner);
        const ahead = { partition, epoch: epoch + action.ahead };
        const runs = model.active(partition).map(refOf);
        expect(await store.restorePartition(ahead, runs)).toBe(model.restore(ahead));
        if (action.ahead > 0 && model.epochs.get(partition) === ahead.epoch) owners.push(ahead);
        break;
      }
      case 'mark':
        await store.markStopped(refOf(action.run), HOUR_MS);
        if (!model.runs.has(action.run)) model.marks.add(action.run);
        break;
    }
    await compare(store, round, model);
  }
}

async function compare(store: RunStore, round: string, model: Model): Promise<void> {
  for (const name of RUN_NAMES) {
    const ref = { flowId: round, runId: name };
    const [stored, outputs] = await Promise.all([store.read(ref), store.readAllOutputs(ref)]);
    const expected = model.runs.get(name);
    expect(await store.notes(ref)).toEqual(expected?.notes ?? []);
    expect(stored === undefined).toBe(expected === undefined);
    if (stored === undefined || expected === undefined) continue;
    expect(stored.meta).toMatchObject({
      partition: expected.partition,
      epoch: expected.epoch,
      revision: expected.revision,
      outboxHead: expected.head,
    });
    expect(new Map(Object.entries(stored.meta.fields))).toEqual(expected.fields);
    expect(stored.steps).toEqual(expected.steps);
    expect(stored.outbox).toEqual(expected.outbox);
    expect(stored.definition).toBe(expected.definition);
    expect(outputs).toEqual(expected.outputs);
  }
  for (const partition of model.epochs.keys()) {
    const active = (await store.activeRuns(partition)).map(({ runId }) => runId).sort();
    expect(active).toEqual(model.active(partition));
  }
}

function never(): never {
  throw new Error('no owner yet');
}
