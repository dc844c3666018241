/** The end of a finished run in the store, once everything of it was told: it may be forgotten in time. */
import type { Ownership, RunRef } from '../store/run-store.ts';
import type { Committer } from './committer.ts';
import type { OutboxSender } from './outbox-sender.ts';
import type { RunContext } from './run-context.ts';
import { untilAvailable } from './until-available.ts';

export interface RetiringRun {
  readonly ref: RunRef;
  readonly owner: Ownership;
  readonly committer: Committer;
  readonly sender: OutboxSender;
  readonly context: RunContext;
}

/**
 * `lost-end`: the store had lost the run's end; it was written again, and may be lost again. `fenced`: another owner has
 * the run. Never rejects.
 */
export async function retireRun({
  ref,
  owner,
  committer,
  sender,
  context,
}: RetiringRun): Promise<'gone' | 'fenced' | 'lost-end'> {
  const { store, retentionMs, signal, log } = context;
  try {
    const { repairs } = committer;
    const acknowledged = sender.takeAcknowledgement();
    if (acknowledged !== undefined || store.durability.delayMs > 0) {
      const end = await committer.commit(acknowledged === undefined ? {} : { acknowledged });
      if (end !== 'committed') return end === 'fenced' ? 'fenced' : 'gone';
    }
    if (committer.repairs > repairs) return 'lost-end';
    if ((await untilAvailable(() => store.retire(ref, owner, retentionMs), context)) === 'fenced') return 'fenced';
  } catch (thrown) {
    if (!signal.aborted) log.error({ ...ref, err: thrown }, 'a finished run could not be retired');
  }
  return 'gone';
}
