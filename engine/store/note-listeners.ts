/** Who wants to hear of notes, and which partitions are open here. A store hands `tell` the notes of those. */
import type { NoteListener, RunRef } from './run-store.ts';

export class NoteListeners {
  readonly #listeners = new Set<NoteListener>();
  readonly #partitions = new Set<string>();

  get partitions(): ReadonlySet<string> {
    return this.#partitions;
  }

  open(partition: string): void {
    this.#partitions.add(partition);
  }

  close(partition: string): void {
    this.#partitions.delete(partition);
  }

  add(listener: NoteListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(run: RunRef, text: string): void {
    for (const listener of [...this.#listeners]) listener(run, text);
  }

  clear(): void {
    this.#listeners.clear();
    this.#partitions.clear();
  }
}
