/** Everything that a verdict was made from, and the logs beside it, in a folder for whoever looks into a violation. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/clone.ts';
import type { Effect, SentRun, StatusRecord } from './observation.ts';
import type { ProcessNode } from './process-node.ts';

export interface Evidence {
  readonly report: { readonly name: string; readonly seed: number };
  readonly runs: readonly SentRun[];
  readonly records: readonly StatusRecord[];
  readonly effects: readonly Effect[];
  readonly nodes: readonly ProcessNode[];
}

/** @returns the folder; what an earlier call with the same seed left there is gone. */
export function keepEvidence({ report, runs, records, effects, nodes }: Evidence): string {
  const folder = join(ROOT, '.cache', 'chaos', `${report.name}-${report.seed}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const write = (name: string, lines: readonly string[]) => writeFileSync(join(folder, name), `${lines.join('\n')}\n`);
  write('report.json', [JSON.stringify(report, null, 2)]);
  write(
    'runs.jsonl',
    runs.map((run) => JSON.stringify(run)),
  );
  write(
    'records.jsonl',
    records.map((record) => JSON.stringify(record)),
  );
  write(
    'effects.jsonl',
    effects.map((effect) => JSON.stringify(effect)),
  );
  for (const node of nodes) write(`${node.name.replace(' ', '-')}.log`, node.log());
  return folder;
}
