/**
 * Runs that were accepted while the engine had no room: durable in the store, here only their names. The next to
 * begin is the one of the highest priority, then the oldest (design 4.3).
 */
import type { RunRef } from '../store/run-store.ts';
import { Heap } from './heap.ts';

export interface WaitingRun {
  readonly ref: RunRef;
  readonly partition: string;
  readonly priority: number;
  readonly createdMs: number;
}

export class Backlog extends Heap<WaitingRun> {
  constructor() {
    super((a, b) => (a.priority === b.priority ? a.createdMs < b.createdMs : a.priority > b.priority));
  }
}
