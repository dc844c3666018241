/** Puts the isolate tier together: workers, the pool that chooses among them, and the tier that the host sees. */
import type { Logger } from 'pino';
import type { WorkerFiles } from './jail.ts';
import { IsolateTier } from './tier.ts';
import type { WorkerContainersOptions } from './worker-containers.ts';
import { WorkerPool } from './worker-pool.ts';
import { openWorkerSource } from './worker-source.ts';

export interface OpenTierOptions {
  readonly files: WorkerFiles;
  readonly maxWorkers: number;
  readonly cores: number;
  readonly instance: string;
  readonly log: Logger;
  readonly withoutJail: boolean;
  /** What takes the place of jails where they are refused. */
  readonly containers?: WorkerContainersOptions;
}

/** A first worker is on its way when this resolves. */
export async function openIsolateTier(options: OpenTierOptions): Promise<IsolateTier> {
  const { files, instance, log, withoutJail, containers } = options;
  const refused = (problem: string): void => {
    const message = `this machine refuses jailed sandboxes (${problem})`;
    pool.refuseWaiting((job) => job.needsJail, message);
  };
  const source = await openWorkerSource({ files, instance, log, onJailRefused: refused, withoutJail, containers });
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
    maxWallMs: () => source.maxWallMs(),
    containerRuntime: () => source.containerRuntime(),
    close: async () => {
      await pool.close();
      await source.close();
    },
  });
}
