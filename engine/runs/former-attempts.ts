/**
 * Attempts that a run has to account for and does not have: those under way when its owner changed, taken over from their
 * hosts or run again; and those that were lost while code of them may still run, whose end STOPPED waits for (G5).
 */
import type { Attempt, SandboxHost } from '@flowops/proto/attempt.ts';
import type { RunState } from '../scheduler/state.ts';
import type { Ownership, RunRef } from '../store/run-store.ts';
import { readEndedNote } from './attempt-notes.ts';
import { AttemptSearch, type FoundAttempt, type SoughtAttempt } from './attempt-search.ts';
import type { RunAttempts } from './run-attempts.ts';
import type { RunContext } from './run-context.ts';
import type { RunMessage } from './turn.ts';

/** Beyond the lease: until a host that ends an attempt has proven it, and for clocks that differ. */
const LEASE_MARGIN_MS = 1_000;

export interface FormerAttemptsOptions {
  readonly run: RunRef;
  readonly owner: Ownership;
  readonly context: RunContext;
  readonly attempts: RunAttempts;
  readonly post: (message: RunMessage) => void;
}

export class FormerAttempts {
  readonly #options: FormerAttemptsOptions;
  readonly #search: AttemptSearch;

  constructor(options: FormerAttemptsOptions) {
    this.#options = options;
    this.#search = new AttemptSearch(options.run, options.owner, options.context);
  }

  /** Attempts that are being looked for. */
  get size(): number {
    return this.#search.size;
  }

  /** A run was claimed. @param notes its inbox */
  takeUp(state: RunState, notes: readonly string[]): void {
    const { context, attempts, post } = this.#options;
    const ended = new Set(notes.map(readEndedNote));
    const untilMs = context.clock.nowMs() + context.leaseMs + LEASE_MARGIN_MS;
    for (const step of state.running) {
      const attempt = state.steps.get(step);
      if (attempt?.status !== 'RUNNING') continue;
      const { token, host } = attempt;
      if (ended.has(token)) this.#orphaned(step, token);
      else {
        const listener = attempts.listenerOf(state.graph.stepIds[step] ?? '');
        this.#search.seek({ token, host, untilMs }, listener, (found) => {
          if (found.kind === 'gone') this.#orphaned(step, token);
          else if (found.kind === 'refused') post({ kind: 'displaced' });
          else {
            const { host: foundHost, attempt: foundAttempt } = found;
            context.log.debug(
              { ...this.#options.run, step, host: foundHost.instance },
              'a former attempt was taken over',
            );
            post({ kind: 'found', step, token, host: foundHost, attempt: foundAttempt });
          }
        });
      }
    }
    for (const [token, { host, untilMs }] of state.unproven) {
      if (ended.has(token)) this.#proven(token);
      else this.seekProof({ token, host, untilMs });
    }
  }

  /** Posts `end-proven` once nothing of the attempt runs; ends it where it is found. */
  seekProof(sought: SoughtAttempt): void {
    const { run, context } = this.#options;
    const { host, untilMs } = sought;
    const message = 'code of a lost attempt may still run; a STOP waits for its proven end';
    if (host !== '') context.log.warn({ ...run, host, untilMs }, message);
    this.#search.seek(sought, {}, (found) => this.#foundUnproven(sought, found));
  }

  /** Hosts came or went. */
  look(): void {
    this.#search.look();
  }

  /** A note came to the run. */
  noted(text: string): void {
    const token = readEndedNote(text);
    if (token !== undefined) this.#search.ended(token);
  }

  close(): void {
    this.#search.close();
  }

  #foundUnproven(sought: SoughtAttempt, found: FoundAttempt): void {
    if (found.kind === 'gone') this.#proven(sought.token);
    else if (found.kind === 'refused') this.#options.post({ kind: 'displaced' });
    else void this.#end(found.attempt, sought, found.host);
  }

  async #end(attempt: Attempt, { token }: SoughtAttempt, host: SandboxHost): Promise<void> {
    attempt.cancel({ graceMs: 0, reason: 'the run has given the attempt up' });
    const outcome = await attempt.outcome;
    attempt.acknowledge();
    if (outcome.status !== 'LOST' || outcome.aliveForMs === 0) this.#proven(token);
    else {
      const untilMs = this.#options.context.clock.nowMs() + outcome.aliveForMs;
      this.seekProof({ token, host: host.instance, untilMs });
    }
  }

  #orphaned(step: number, token: string): void {
    const event = { type: 'attempt-ended', step, token, end: { kind: 'orphaned' } } as const;
    this.#options.post({ kind: 'event', event });
  }

  #proven(token: string): void {
    this.#options.post({ kind: 'event', event: { type: 'end-proven', token } });
  }
}
