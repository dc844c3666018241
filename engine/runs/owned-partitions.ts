/** The partitions that this engine holds, each with the epoch under which it writes. */
import type { Log } from '../log.ts';
import { type Ownership, StoreUnavailable } from '../store/run-store.ts';

export class OwnedPartitions {
  readonly #log: Log;
  readonly #owners = new Map<string, Ownership>();

  constructor(log: Log) {
    this.#log = log;
  }

  hold(owner: Ownership): void {
    this.#owners.set(owner.partition, owner);
  }

  drop(partition: string): void {
    this.#owners.delete(partition);
  }

  /** Whether this is still how the partition is held. */
  holds(owner: Ownership): boolean {
    return this.#owners.get(owner.partition) === owner;
  }

  find(partition: string): Ownership | undefined {
    return this.#owners.get(partition);
  }

  /** @throws StoreUnavailable: whoever holds it now has to be given the command. */
  get(partition: string): Ownership {
    const owner = this.#owners.get(partition);
    if (owner === undefined) throw new StoreUnavailable(`partition ${partition} is not held by this engine`);
    return owner;
  }

  /** What to throw when the store refused a write of this owner. */
  fenced(owner: Ownership): StoreUnavailable {
    this.#log.warn({ ...owner }, 'another engine took this partition over');
    return new StoreUnavailable(`partition ${owner.partition} was taken over by another engine`);
  }
}
