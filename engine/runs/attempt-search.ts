/**
 * Looks for attempts that this engine did not start, or lost sight of: is the host that has them there, has it ended, or
 * did somebody note their end? (design 5.4). Looked at again whenever hosts come and go, when a note comes, and while
 * the connection has not let go of the attempt for the former owner; given up when the time is over after which no host
 * runs them any more.
 *
 * Invariants:
 *   A1. `onFound` is called once for each attempt sought, unless the search is closed.
 *   A2. `gone` is told only when nothing of the attempt runs: a host that does not know it has taken the run's epoch and
 *       refuses a late Invoke, one that ended runs nothing, a note is written after the end, and so is the time chosen.
 */
import type { Attempt, AttemptListener, SandboxHost } from '@flowops/proto/attempt.ts';
import { messageOf } from '@flowops/proto/errors.ts';
import type { Timer } from '../base/timers.ts';
import type { Ownership, RunRef } from '../store/run-store.ts';
import type { RunContext } from './run-context.ts';

/** Until a connection that still holds the attempt is asked again. */
const ASK_AGAIN_MS = 500;

export interface SoughtAttempt {
  readonly token: string;
  /** Instance of the host; empty when it is not known: then only time helps. */
  readonly host: string;
  /** From then on nothing of it runs, epoch ms. */
  readonly untilMs: number;
}

export type FoundAttempt =
  | { readonly kind: 'attached'; readonly attempt: Attempt; readonly host: SandboxHost }
  | { readonly kind: 'gone' }
  /** The host has seen a newer owner of the run. */
  | { readonly kind: 'refused' };

interface Search {
  readonly sought: SoughtAttempt;
  readonly listener: AttemptListener;
  readonly onFound: (found: FoundAttempt) => void;
  readonly timer: Timer;
  /** The host that was asked and has not answered. */
  asked: SandboxHost | undefined;
}

type SearchContext = Pick<RunContext, 'sandboxes' | 'timers' | 'clock' | 'log'>;

export class AttemptSearch {
  readonly #run: RunRef;
  readonly #owner: Ownership;
  readonly #context: SearchContext;
  readonly #searches = new Map<string, Search>();

  constructor(run: RunRef, owner: Ownership, context: SearchContext) {
    this.#run = run;
    this.#owner = owner;
    this.#context = context;
  }

  get size(): number {
    return this.#searches.size;
  }

  seek(sought: SoughtAttempt, listener: AttemptListener, onFound: (found: FoundAttempt) => void): void {
    const { token, untilMs } = sought;
    const timer = this.#context.timers.arm(untilMs, () => this.#finish(token, { kind: 'gone' }));
    const search: Search = { sought, listener, onFound, timer, asked: undefined };
    this.#searches.set(token, search);
    this.#look(search);
  }

  /** Hosts came or went. */
  look(): void {
    for (const search of [...this.#searches.values()]) this.#look(search);
  }

  /** Somebody noted that it has ended. */
  ended(token: string): void {
    this.#finish(token, { kind: 'gone' });
  }

  close(): void {
    for (const { timer } of this.#searches.values()) this.#context.timers.cancel(timer);
    this.#searches.clear();
  }

  #look(search: Search): void {
    const { token, host } = search.sought;
    if (host === '') return;
    const where = this.#context.sandboxes.locate(host);
    if (where.state === 'ended') this.#finish(token, { kind: 'gone' });
    if (where.state !== 'connected' || search.asked === where.host) return;
    search.asked = where.host;
    void this.#ask(search, where.host);
  }

  async #ask(search: Search, host: SandboxHost): Promise<void> {
    const { token } = search.sought;
    const { epoch } = this.#owner;
    try {
      const answer = await host.attach({ token, ...this.#run, epoch }, search.listener);
      const isWanted = this.#searches.get(token) === search;
      switch (answer.state) {
        case 'running':
        case 'ended':
          if (isWanted) this.#finish(token, { kind: 'attached', attempt: answer.attempt, host });
          else answer.attempt.leave();
          return;
        case 'unknown':
          if (isWanted) this.#finish(token, { kind: 'gone' });
          return;
        case 'refused':
          if (isWanted) this.#finish(token, { kind: 'refused' });
          return;
        case 'lost':
          break;
      }
    } catch (thrown) {
      // This engine was the former owner too, and the connection has the attempt until the last commit of that time has its
      // answer (then it can be attached to), or until it is ended (then a note tells).
      const { clock, timers, log } = this.#context;
      log.debug({ ...this.#run, host: host.instance }, `not attached: ${messageOf(thrown)}`);
      timers.arm(clock.nowMs() + ASK_AGAIN_MS, () => {
        if (search.asked === host) search.asked = undefined;
        if (this.#searches.get(token) === search) this.#look(search);
      });
      return;
    }
    if (search.asked === host) search.asked = undefined;
  }

  #finish(token: string, found: FoundAttempt): void {
    const search = this.#searches.get(token);
    if (search === undefined) return;
    this.#context.timers.cancel(search.timer);
    this.#searches.delete(token);
    search.onFound(found);
  }
}
