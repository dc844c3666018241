/**
 * The breakages that must not survive: for each guarantee that rests on one place in the code, that place taken away. Each
 * names the text that it replaces, so that it cannot quietly become no breakage at all, and what has to see it.
 */
import type { Edit } from './tree-copy.ts';

export interface Mutation {
  /** What the broken engine does. */
  readonly name: string;
  readonly edits: readonly Edit[];
  /** Words of the violation that have to be in what is reported; any other would be found by accident. */
  readonly seenAs: RegExp;
}

/** In the engine itself: the simulation runs all of it. */
export const SEEN_BY_SIMULATION: readonly Mutation[] = [
  {
    // The fence itself is Lua and SQL in a real store; this is their counterpart, which passes the same contract.
    name: 'commits to a store that does not refuse a former owner',
    edits: [
      {
        file: 'test/simulation/store/store-data.ts',
        find: `if (epoch < row.epoch) return { result: 'fenced' };`,
        put: '',
      },
    ],
    seenAs: /G[1-5]/,
  },
  {
    name: 'counts the outbox as sent before it is',
    edits: [
      {
        file: 'engine/runs/outbox-sender.ts',
        find: 'this.#tail = Promise.all([this.#tail, ...sending]);',
        put: 'this.#tail = this.#tail.then(() => undefined);',
      },
    ],
    seenAs: /acknowledged and never sent/,
  },
  {
    name: 'applies the result of an attempt twice',
    edits: [
      {
        file: 'engine/runs/run-attempts.ts',
        find: `this.#onEnd({ type: 'attempt-ended', step, token, end: this.#endOf(held, outcome, plugin), ...receipt });`,
        put: `const told = { type: 'attempt-ended', step, token, end: this.#endOf(held, outcome, plugin), ...receipt } as const;
      this.#onEnd(told);
      this.#onEnd(told);`,
      },
      {
        file: 'engine/scheduler/decide.ts',
        find: `if (state?.status !== 'RUNNING' || state.token !== token) return;
    run.running.delete(step);`,
        put: `if (state?.status !== 'RUNNING' && state?.status !== 'COMPLETED') return;
    run.running.delete(step);`,
      },
      {
        file: 'engine/scheduler/decide.ts',
        find: 'if (before !== undefined && isFinalStep(before)) throw',
        put: 'if (before !== undefined && isFinalStep(before) && false) throw',
      },
    ],
    seenAs: /G[349]/,
  },
  {
    name: 'writes what happened and what is told of it in two commits',
    edits: [
      {
        file: 'engine/runs/active-run.ts',
        find: '...(entries.length > 0 ? { events: entries } : {}),',
        put: '',
      },
      {
        file: 'engine/runs/active-run.ts',
        find: `desk.settle();
    this.#inputs.remember(draft.outputs);`,
        put: `if (entries.length > 0) await this.#committer.commit({ events: entries });
    desk.settle();
    this.#inputs.remember(draft.outputs);`,
      },
    ],
    seenAs: /G3/,
  },
  {
    name: 'counts a command as finished before its effect is durable',
    edits: [
      {
        file: 'engine/commands/partition-intake.ts',
        find: 'await this.#options.handle(record);',
        put: 'void this.#options.handle(record).catch(() => undefined);',
      },
    ],
    seenAs: /G1/,
  },
  {
    name: 'takes a run out of the index before its outbox is empty',
    edits: [
      {
        file: 'engine/runs/active-run.ts',
        find: 'if (this.#isFinished && this.#sender.isEmpty) this.#onAllSent();',
        put: 'if (this.#isFinished) this.#onAllSent();',
      },
    ],
    seenAs: /G[13]/,
  },
];

const COMMIT_WITHOUT_FENCE: Edit = {
  file: 'engine/store/commit.lua',
  find: `if epoch < storedEpoch then
  return {'fenced'}
end
`,
  put: '',
};

export interface ChaosMutation extends Mutation {
  readonly scenario: string;
}

/** In what only a real store runs: over real processes. */
export const SEEN_BY_CHAOS: readonly ChaosMutation[] = [
  {
    name: 'Redis whose script takes the commit of a former owner',
    edits: [COMMIT_WITHOUT_FENCE],
    scenario: 'late-writes',
    seenAs: /^ *(order|altered|gap): /m,
  },
];

export interface StoreMutation extends Omit<Mutation, 'seenAs'> {
  /** The contract suite on that store. */
  readonly suite: string;
}

/** In what only a real store runs (Lua, SQL): the contract suite of stores sees it, which the simulated store passes too. */
export const SEEN_BY_CONTRACT: readonly StoreMutation[] = [
  {
    name: 'Redis whose script takes the commit of a former owner',
    suite: 'test/contract/run-store-redis.test.ts',
    edits: [COMMIT_WITHOUT_FENCE],
  },
  {
    name: 'Redis whose script takes a run out of the index for a former owner',
    suite: 'test/contract/run-store-redis.test.ts',
    edits: [
      {
        file: 'engine/store/index-check.lua',
        find: `if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[1]) or 0) then
  return {'fenced'}
end
`,
        put: '',
      },
      {
        file: 'engine/store/index-remove.lua',
        find: `if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[1]) or 0) then
  return {'fenced'}
end
`,
        put: '',
      },
    ],
  },
  {
    name: 'SQLite that takes the commit of a former owner',
    suite: 'test/contract/run-store-sqlite.test.ts',
    edits: [
      {
        file: 'engine/store/sqlite-store.ts',
        find: `      if (epoch < row.epoch) return { result: 'fenced' };
`,
        put: '',
      },
    ],
  },
];
