/** The partitions that this engine holds, each with the epoch under which it writes. */
import { type Ownership, StoreUnavailable } from '../store/run-store.ts';

/** Another engine writes under a higher epoch: whoever holds the partition now has to be given the work. */
export class PartitionLost extends StoreUnavailable {
  constructor(partition: string) {
    super(`partition ${partition} is not held by this engine, or was taken over by another`);
  }
}

export class OwnedPartitions {
  readonly #owners = new Map<string, Ownership>();

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

  all(): Iterable<Ownership> {
    return [...this.#owners.values()];
  }

  /** @throws PartitionLost */
  get(partition: string): Ownership {
    const owner = this.#owners.get(partition);
    if (owner === undefined) throw new PartitionLost(partition);
    return owner;
  }
}
