/** What is left to be done once all faults are over (G1): a run without an end, a command without an answer, an index entry. */

import { runName } from '@flowops/engine/store/keys.ts';
import { COMMANDS } from '../broker/broker.ts';
import type { Cluster } from '../engine/cluster.ts';
import { FINAL_FLOWS } from './store-check.ts';

/** Empty when everything has come to its end. */
export function unfinished({ truth, broker, group, store }: Cluster): readonly string[] {
  const left: string[] = [];
  for (const run of truth.runs.values()) {
    if (run.writes.length === 0) continue;
    const row = store.data.peek(run.key);
    const status = row?.fields.get('status');
    if (status === undefined || !FINAL_FLOWS.has(status)) {
      const steps = [...(row?.steps ?? [])].map(([stepId, record]) => `${stepId} ${record}`);
      left.push(`${run.key} is ${status ?? 'gone'} (${steps.join(', ')})`);
    } else if (!run.isExcused && run.published < run.events.length) {
      left.push(`${run.key} has published ${run.published} of ${run.events.length} events`);
    } else if (row?.retired === undefined && !run.cameBack) left.push(`${run.key} was not let go`);
    const running = truth.running(run);
    if (running.length > 0) left.push(`${run.key} has code that runs`);
  }
  for (const { id, kind, run } of truth.commands.values()) {
    if (kind !== 'garbage' && !truth.outcomesTold.has(id) && truth.runs.get(run)?.isExcused !== true) {
      left.push(`${kind} ${id} of ${run} has no outcome`);
    }
  }
  broker.records(COMMANDS).forEach((records, partition) => {
    const committed = Number(group.committed(partition));
    if (committed < records.length) left.push(`partition ${partition} is read to ${committed} of ${records.length}`);
    // A run that left and came back with the store's former state goes with the next owner.
    const isStray = (key: string) =>
      truth.runs.get(key)?.cameBack === true || store.data.peek(key)?.retired !== undefined;
    const active = store.data.activeRuns(String(partition)).filter((ref) => !isStray(runName(ref)));
    if (active.length > 0) left.push(`the index of ${partition} holds ${active.map(({ runId }) => runId).join(' ')}`);
  });
  return left;
}
