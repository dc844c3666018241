/**
 * Makes workers: jailed where this machine can, bare only where it cannot. Whether it can is known when the first
 * worker was confirmed from outside or an empty jail was refused by the system; it is said once in the log.
 */
import { createRequire } from 'node:module';
import type { Logger } from 'pino';
import { z } from 'zod';
import { CodeCaches } from './code-caches.ts';
import { closeInheritedDescriptors } from './inherited.ts';
import { bareCommand, type Jail, openJail, type WorkerFiles } from './jail.ts';
import { killLeftWorkers } from './left-workers.ts';
import { openWorkerCgroups, type WorkerCgroups } from './worker-cgroup.ts';
import type { IsolateWorker, WorkerEvents } from './worker-job.ts';
import { WORKER_BASE_BYTES, WorkerProcess } from './worker-process.ts';

/** Below it, guests could corrupt their host's memory. */
const OLDEST_ISOLATED_VM = [7, 0, 1] as const;

type Confinement = { readonly kind: 'jail'; readonly jail: Jail } | { readonly kind: 'none'; readonly problem: string };

export interface WorkerSource {
  /** "isolated-vm 7.0.1" */
  readonly runtime: string;
  /** Undefined while jails can be made, else why not. */
  jailProblem(): string | undefined;
  spawn(events: WorkerEvents): IsolateWorker;
  /** A worker did not start: finds out whether this machine refuses jails; then `onJailRefused` is called once. */
  examine(problem: string): Promise<void>;
  close(): Promise<void>;
}

export interface WorkerSourceOptions {
  readonly files: WorkerFiles;
  readonly instance: string;
  readonly log: Logger;
  readonly onJailRefused: (problem: string) => void;
  /** For tests: as if this machine had no namespaces. */
  readonly withoutJail?: boolean;
}

export async function openWorkerSource(options: WorkerSourceOptions): Promise<WorkerSource> {
  const { log } = options;
  const runtime = `isolated-vm ${isolatedVmVersion()}`;
  closeInheritedDescriptors();
  let confinement = await confine(options);
  const cgroups: WorkerCgroups | undefined = confinement.kind === 'jail' ? openWorkerCgroups() : undefined;
  if (confinement.kind === 'none') tellRefused(log, confinement.problem);
  else tellJail(log, confinement.jail);
  const codeCaches = new CodeCaches();
  const slots = new Set<number>();
  let nextId = 1;

  return {
    runtime,
    jailProblem: () => (confinement.kind === 'none' ? confinement.problem : undefined),
    spawn: (events) => {
      const slot = freeSlot(slots);
      slots.add(slot);
      const id = nextId++;
      const cgroup = confinement.kind === 'jail' ? cgroups?.create(`worker-${id}`, WORKER_BASE_BYTES) : undefined;
      const { kind } = confinement;
      return new WorkerProcess({
        id,
        command:
          kind === 'jail' ? confinement.jail.command(slot, cgroup?.procsFiles ?? []) : bareCommand(options.files),
        confinement:
          kind === 'jail'
            ? { hostUid: confinement.jail.foreignUid, hasFilter: confinement.jail.filterProblem === undefined }
            : { hostUid: undefined, hasFilter: false },
        cgroup,
        instance: options.instance,
        codeCaches,
        log,
        events: {
          ...events,
          onEnded: (end) => {
            slots.delete(slot);
            events.onEnded(end);
          },
        },
      });
    },
    examine: async (problem) => {
      log.warn({ problem }, 'an isolate worker did not start');
      if (confinement.kind === 'none') return;
      const refusal = await confinement.jail.probe();
      if (refusal === undefined) return;
      await confinement.jail.close();
      confinement = { kind: 'none', problem: refusal };
      tellRefused(log, refusal);
      options.onJailRefused(refusal);
    },
    close: async () => {
      if (confinement.kind === 'jail') await confinement.jail.close();
      await cgroups?.close();
    },
  };
}

async function confine(options: WorkerSourceOptions): Promise<Confinement> {
  if (options.withoutJail) return { kind: 'none', problem: 'jails are switched off' };
  const opened = await openJail(options.files);
  return opened.ok ? { kind: 'jail', jail: opened.jail } : { kind: 'none', problem: opened.problem };
}

function tellJail(log: Logger, jail: Jail): void {
  const killed = killLeftWorkers(jail.root);
  if (killed > 0) log.warn({ killed }, 'workers of a host that was killed were still there, and are ended');
  const problem = jail.filterProblem;
  if (problem !== undefined) log.warn({ problem }, 'isolate workers are jailed without a system call filter');
}

function tellRefused(log: Logger, problem: string): void {
  log.warn(
    { problem },
    'this machine refuses jails for isolate workers: only plugins whose rule says `jail: none` can run here',
  );
}

function freeSlot(taken: ReadonlySet<number>): number {
  let slot = 0;
  while (taken.has(slot)) slot++;
  return slot;
}

/** Throws when isolated-vm is older than the first safe version. */
function isolatedVmVersion(): string {
  const require = createRequire(import.meta.url);
  const { version } = z.object({ version: z.string() }).parse(require('isolated-vm/package.json'));
  const parts = version.split('.').map(Number);
  for (const [index, oldest] of OLDEST_ISOLATED_VM.entries()) {
    const part = parts[index] ?? 0;
    if (part > oldest) break;
    if (part < oldest) throw new Error(`isolated-vm ${version} is not safe; ${OLDEST_ISOLATED_VM.join('.')} is needed`);
  }
  return version;
}
