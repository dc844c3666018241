/**
 * Makes workers: jailed where this machine can; in containers where it cannot and Docker has their image; bare only where
 * neither can be had, for rules that say `jail: none`. Whether it can is known when the first worker was confirmed from
 * outside or an empty jail was refused by the system; it is said once in the log.
 */
import { assertNever } from '@flowops/proto/errors.ts';
import type { Logger } from 'pino';
import { CodeCaches } from './code-caches.ts';
import { MAX_WORKER_WALL_MS } from './container-body.ts';
import { closeInheritedDescriptors } from './inherited.ts';
import { isolatedVmVersion } from './isolated-vm-version.ts';
import { bareCommand, type Jail, openJail, type WorkerFiles } from './jail.ts';
import { killLeftWorkers } from './left-workers.ts';
import { ProcessBody } from './process-body.ts';
import type { WorkerBody } from './worker-body.ts';
import { openWorkerCgroups, type WorkerCgroups } from './worker-cgroup.ts';
import { openWorkerContainers, type WorkerContainers, type WorkerContainersOptions } from './worker-containers.ts';
import type { IsolateWorker, WorkerEvents } from './worker-job.ts';
import { WORKER_BASE_BYTES, WorkerProcess } from './worker-process.ts';

type Place =
  | { readonly kind: 'jail'; readonly jail: Jail }
  | { readonly kind: 'containers'; readonly containers: WorkerContainers }
  | { readonly kind: 'none'; readonly problem: string };

export interface WorkerSource {
  /** "isolated-vm 7.0.1" */
  readonly runtime: string;
  /** Undefined while workers are jailed, in namespaces or in containers, else why not. */
  jailProblem(): string | undefined;
  /** What workers run under where they are containers; undefined where they are not. */
  containerRuntime(): 'runc' | 'runsc' | undefined;
  /** The longest wall limit that a worker lives for. */
  maxWallMs(): number;
  spawn(events: WorkerEvents): IsolateWorker;
  /** A worker did not start: finds out whether this machine refuses jails; then `onJailRefused` is called where nothing takes their place. */
  examine(problem: string): Promise<void>;
  close(): Promise<void>;
}

export interface WorkerSourceOptions {
  readonly files: WorkerFiles;
  readonly instance: string;
  readonly log: Logger;
  readonly onJailRefused: (problem: string) => void;
  /** What takes the place of a jail; undefined: nothing. */
  readonly containers?: WorkerContainersOptions | undefined;
  /** For tests: as if this machine had no namespaces. */
  readonly withoutJail?: boolean;
}

export async function openWorkerSource(options: WorkerSourceOptions): Promise<WorkerSource> {
  const { log } = options;
  const runtime = `isolated-vm ${isolatedVmVersion()}`;
  closeInheritedDescriptors();
  let place = await findPlace(options);
  const cgroups: WorkerCgroups | undefined = place.kind === 'jail' ? openWorkerCgroups() : undefined;
  const codeCaches = new CodeCaches();
  const slots = new Set<number>();
  let nextId = 1;
  const makeBody = (slot: number, id: number): WorkerBody => {
    switch (place.kind) {
      case 'jail': {
        const { jail } = place;
        const cgroup = cgroups?.create(`worker-${id}`, WORKER_BASE_BYTES);
        const confinement = { hostUid: jail.foreignUid, hasFilter: jail.filterProblem === undefined };
        return new ProcessBody({ command: jail.command(slot, cgroup?.procsFiles ?? []), confinement, cgroup });
      }
      case 'containers':
        return place.containers.body();
      case 'none': {
        const confinement = { hostUid: undefined, hasFilter: false };
        return new ProcessBody({ command: bareCommand(options.files), confinement, cgroup: undefined });
      }
      default:
        return assertNever(place);
    }
  };

  return {
    runtime,
    jailProblem: () => (place.kind === 'none' ? place.problem : undefined),
    containerRuntime: () => (place.kind === 'containers' ? options.containers?.runtime : undefined),
    maxWallMs: () => (place.kind === 'containers' ? MAX_WORKER_WALL_MS : Number.POSITIVE_INFINITY),
    spawn: (events) => {
      const slot = freeSlot(slots);
      slots.add(slot);
      const id = nextId++;
      return new WorkerProcess({
        id,
        body: makeBody(slot, id),
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
      if (place.kind !== 'jail') return;
      const refusal = await place.jail.probe();
      if (refusal === undefined) return;
      await place.jail.close();
      place = await withoutJail(refusal, options);
      if (place.kind === 'none') options.onJailRefused(place.problem);
    },
    close: async () => {
      if (place.kind === 'jail') await place.jail.close();
      if (place.kind === 'containers') await place.containers.close();
      await cgroups?.close();
    },
  };
}

async function findPlace(options: WorkerSourceOptions): Promise<Place> {
  if (options.withoutJail) return withoutJail('jails are switched off', options);
  const opened = await openJail(options.files);
  if (!opened.ok) return withoutJail(opened.problem, options);
  tellJail(options.log, opened.jail);
  return { kind: 'jail', jail: opened.jail };
}

/** @param refusal why there is no jail. Said once in the log, with what takes its place. */
async function withoutJail(refusal: string, { containers, log }: WorkerSourceOptions): Promise<Place> {
  const opened = containers === undefined ? undefined : await openWorkerContainers(containers, log);
  if (opened?.ok && containers !== undefined) {
    const { image, runtime } = containers;
    const facts = { refusal, image, runtime };
    log.info(facts, 'this machine refuses jails for isolate workers: they run in containers instead');
    return { kind: 'containers', containers: opened.containers };
  }
  const problem = opened === undefined || opened.ok ? refusal : `${refusal}; nor a container: ${opened.problem}`;
  log.warn(
    { problem },
    'this machine refuses jails for isolate workers: only plugins whose rule says `jail: none` can run here',
  );
  return { kind: 'none', problem };
}

function tellJail(log: Logger, jail: Jail): void {
  const killed = killLeftWorkers(jail.root);
  if (killed > 0) log.warn({ killed }, 'workers of a host that was killed were still there, and are ended');
  const problem = jail.filterProblem;
  if (problem !== undefined) log.warn({ problem }, 'isolate workers are jailed without a system call filter');
}

function freeSlot(taken: ReadonlySet<number>): number {
  let slot = 0;
  while (taken.has(slot)) slot++;
  return slot;
}
