/** Puts the isolate tier together: workers, the pool that chooses among them, and the tier that the host sees. */
import type { Logger } from 'pino';
import type { Tier } from '../tier.ts';
import type { WorkerFiles } from './jail.ts';
import { IsolateTier } from './tier.ts';
import { WorkerPool } from './worker-pool.ts';
import { openWorkerSource } from './worker-source.ts';

export interface OpenTierOptions {
  readonly files: WorkerFiles;
  readonly maxWorkers: number;
  readonly cores: number;
  readonly instance: string;
  readonly log: Logger;
  readonly withoutJail: boolean;
}

/** A first worker is on its way when this resolves. */
export async function openIsolateTier(options: OpenTierOptions): Promise<Tier> {
  const { files, instance, log, withoutJail } = options;
  const refused = (problem: string): void => {
    const message = `this machine refuses jailed sandboxes (${problem})`;
    pool.refuseWaiting((job) => job.needsJail, 'SANDBOX_UNAVAILABLE', message);
  };
  const source = await openWorkerSource({ files, instance, log, onJailRefused: refused, withoutJail });
  const pool: WorkerPool = new WorkerPool({
    maxWorkers: options.maxWorkers,
    cores: options.cores,
    spawn: (events) => source.spawn(events),
    onStartFailure: (problem) => source.examine(problem),
  });
  pool.warmUp();
  return new IsolateTier({
    pool,
    runtime: source.runtime,
    jailProblem: () => source.jailProblem(),
    close: async () => {
      await pool.close();
      await source.close();
    },
  });
}
