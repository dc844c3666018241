/** The status events of the runs of this process, for those who follow one: in order, from any sequence on. */
import { isFinalFlowStatus, type StatusEvent } from '@flowops/proto/statuses.ts';

interface Followed {
  readonly events: StatusEvent[];
  readonly waiters: Set<() => void>;
}

export class EventLog {
  readonly #runs = new Map<string, Followed>();

  add(key: string, events: readonly StatusEvent[]): void {
    const run = this.#run(key);
    const lastSequence = run.events.at(-1)?.sequence ?? 0;
    // A recovered run sends again what was not acknowledged.
    for (const event of events) if ((event.sequence ?? 0) > lastSequence) run.events.push(event);
    for (const wake of [...run.waiters]) wake();
  }

  /** @param from the first sequence wanted. Ends after the final event of the flow. */
  async *follow(key: string, from: number): AsyncGenerator<StatusEvent> {
    const run = this.#run(key);
    for (let index = 0; ; index++) {
      while (index >= run.events.length) await waitFor(run);
      const event = run.events[index];
      if (event === undefined) continue;
      if ((event.sequence ?? 0) >= from) yield event;
      if (event.eventType === 'FLOW_STATUS' && isFinalFlowStatus(event.status)) return;
    }
  }

  /** The final event of the flow, when it has come. */
  async last(key: string): Promise<StatusEvent & { eventType: 'FLOW_STATUS' }> {
    for await (const event of this.follow(key, 1)) {
      if (event.eventType === 'FLOW_STATUS' && isFinalFlowStatus(event.status)) return event;
    }
    throw new Error('unreachable: follow ends with the final event');
  }

  #run(key: string): Followed {
    let run = this.#runs.get(key);
    if (run === undefined) {
      run = { events: [], waiters: new Set() };
      this.#runs.set(key, run);
    }
    return run;
  }
}

async function waitFor(run: Followed): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  run.waiters.add(resolve);
  await promise;
  run.waiters.delete(resolve);
}
