/**
 * `flowops backup FILE`: the runs of FLOWOPS_HOME in one file, also while an engine uses them. Runs of a service are in
 * Redis, which has its own means; this says so where somebody may mean those.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { CliParts } from '@flowops/proto/cli.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { jsonLine } from '@flowops/proto/json-line.ts';
import { backupSqlite } from '../store/sqlite-backup.ts';
import { STORE_FILE } from '../store/sqlite-schema.ts';
import type { BackupReport } from './reports.ts';

export interface BackupOptions {
  readonly json?: true;
}

const IN_REDIS =
  'REDIS_URL is set: the runs of a service are in that Redis. Back it up with its own means: its append-only folder (appenddirname) with automatic rewrites off meanwhile, or BGSAVE and the RDB file (docs/backup.md)';

export async function backUp(target: string, options: BackupOptions, parts: CliParts): Promise<void> {
  const { values } = await parts.settings();
  const file = join(resolve(values.FLOWOPS_HOME), STORE_FILE);
  if (values.REDIS_URL !== undefined) {
    if (!existsSync(file)) throw new FlowopsError('CONFIG_INVALID', IN_REDIS);
    process.stderr.write(`${IN_REDIS}. Copied now is the embedded store of ${values.FLOWOPS_HOME}.\n`);
  }
  const report: BackupReport = { file: resolve(target), ...infrastructure(() => backupSqlite(file, resolve(target))) };
  process.stdout.write(options.json === true ? `${jsonLine(report)}\n` : reportText(report));
}

function reportText({ file, bytes, runs, unfinished }: BackupReport): string {
  const size = `${(bytes / (1024 * 1024)).toFixed(1)} MiB`;
  return `${file}: ${runs} ${runs === 1 ? 'run' : 'runs'}, ${unfinished} of them unfinished, ${size}\n`;
}

/** What the disk does is no wrong use: a later try may work. */
function infrastructure<T>(work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    if (thrown instanceof FlowopsError || !(thrown instanceof Error)) throw thrown;
    const isOurs = thrown.name === 'StoreUnavailable' || thrown.name === 'StoreDamaged';
    throw isOurs ? new FlowopsError('SANDBOX_UNAVAILABLE', thrown.message, { cause: thrown }) : thrown;
  }
}
