/**
 * Runs for which the engine has no room: durable in the store, here only their names. The next to come into memory is
 * the one of the highest priority, then the oldest (design 4.3).
 */

import { Heap } from '../base/heap.ts';
import type { Ownership, RunRef } from '../store/run-store.ts';

export interface WaitingRun {
  readonly ref: RunRef;
  readonly owner: Ownership;
  readonly priority: number;
  readonly createdMs: number;
}

export class Backlog extends Heap<WaitingRun> {
  constructor() {
    super((a, b) => (a.priority === b.priority ? a.createdMs < b.createdMs : a.priority > b.priority));
  }
}
