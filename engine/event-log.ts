/**
 * The status events of the runs of this process, for those who follow one: in order, from any sequence on. A run's
 * events are kept by whoever opened it; the log itself forgets a run with its final event.
 */
import { isFinalFlowStatus, type StatusEvent } from '@flowops/proto/statuses.ts';

export type FinalEvent = StatusEvent & { eventType: 'FLOW_STATUS' };

export class RunEvents {
  readonly #events: StatusEvent[] = [];
  readonly #waiters = new Set<() => void>();
  #isClosed = false;

  /** The final event of the flow, once it has come. */
  get final(): FinalEvent | undefined {
    const last = this.#events.at(-1);
    return last?.eventType === 'FLOW_STATUS' && isFinalFlowStatus(last.status) ? last : undefined;
  }

  add(events: readonly StatusEvent[]): void {
    const lastSequence = this.#events.at(-1)?.sequence ?? 0;
    // A recovered run sends again what was not acknowledged.
    for (const event of events) if ((event.sequence ?? 0) > lastSequence) this.#events.push(event);
    for (const wake of [...this.#waiters]) wake();
  }

  /** @param from the first sequence wanted. Ends after the final event of the flow. */
  async *follow(from: number): AsyncGenerator<StatusEvent> {
    for (let index = 0; ; index++) {
      while (index >= this.#events.length) {
        if (this.final !== undefined || this.#isClosed) return;
        await this.#next();
      }
      const event = this.#events[index];
      if (event !== undefined && (event.sequence ?? 0) >= from) yield event;
    }
  }

  /** Nothing more will come: the run had ended before this process heard of it. */
  close(): void {
    this.#isClosed = true;
    for (const wake of [...this.#waiters]) wake();
  }

  async ended(): Promise<FinalEvent> {
    for (;;) {
      if (this.final !== undefined) return this.final;
      await this.#next();
    }
  }

  async #next(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.add(resolve);
    await promise;
    this.#waiters.delete(resolve);
  }
}

export class EventLog {
  readonly #runs = new Map<string, RunEvents>();

  /** Open a run before its first event can come: what came before is not kept for later. */
  open(key: string): RunEvents {
    const known = this.#runs.get(key);
    if (known !== undefined) return known;
    const opened = new RunEvents();
    this.#runs.set(key, opened);
    return opened;
  }

  /** Events of a run that nobody opened are of no interest to anybody here. */
  add(key: string, events: readonly StatusEvent[]): void {
    const run = this.#runs.get(key);
    run?.add(events);
    if (run?.final !== undefined) this.#runs.delete(key);
  }
}
