/**
 * Who wants to hear what others tell the owner of a partition: notes for its runs, and that they opened it themselves.
 * Knows which partitions are open here; a store hands over what concerns those.
 */
import type { NoteListener, Ownership, RunRef } from './run-store.ts';

export class NoteListeners {
  readonly #listeners = new Set<NoteListener>();
  readonly #takenListeners = new Set<(by: Ownership) => void>();
  readonly #partitions = new Set<string>();
  /** Under which epoch each is open here, once that is known. */
  readonly #epochs = new Map<string, number>();
  /** The highest of others. */
  readonly #heard = new Map<string, number>();

  get partitions(): ReadonlySet<string> {
    return this.#partitions;
  }

  open(partition: string): void {
    this.#partitions.add(partition);
    // Until the store has answered, an opening that is heard of may be our own.
    this.#epochs.delete(partition);
  }

  close(partition: string): void {
    this.#partitions.delete(partition);
    this.#epochs.delete(partition);
    this.#heard.delete(partition);
  }

  add(listener: NoteListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(run: RunRef, text: string): void {
    for (const listener of [...this.#listeners]) listener(run, text);
  }

  onTaken(listener: (by: Ownership) => void): () => void {
    this.#takenListeners.add(listener);
    return () => this.#takenListeners.delete(listener);
  }

  /** The store has answered an opening of ours. */
  opened({ partition, epoch }: Ownership): void {
    this.#epochs.set(partition, epoch);
    this.#judge(partition);
  }

  /** Somebody, perhaps we, opened a partition. */
  heardOpening({ partition, epoch }: Ownership): void {
    if (!this.#partitions.has(partition)) return;
    this.#heard.set(partition, Math.max(epoch, this.#heard.get(partition) ?? 0));
    this.#judge(partition);
  }

  #judge(partition: string): void {
    const own = this.#epochs.get(partition);
    const epoch = this.#heard.get(partition);
    if (own === undefined || epoch === undefined || epoch <= own) return;
    for (const listener of [...this.#takenListeners]) listener({ partition, epoch });
  }

  clear(): void {
    this.#listeners.clear();
    this.#takenListeners.clear();
    this.#partitions.clear();
  }
}
