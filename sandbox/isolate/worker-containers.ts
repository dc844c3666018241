/**
 * Workers as containers: whether they can be had on this machine, and the bodies of those that are asked for. Docker is
 * asked only when a jail was refused; a Docker that is lost later is waited for by each start (daemon.ts).
 */
import type { Logger } from 'pino';
import { DockerDaemon } from '../container/daemon.ts';
import type { DockerHoldings } from '../container/holdings.ts';
import { ContainerBody } from './container-body.ts';
import type { WorkerBody } from './worker-body.ts';

/** A daemon that does not answer by then would not make workers in time either. */
const LOOK_LIMIT_MS = 10_000;

export interface WorkerContainersOptions {
  readonly holdings: DockerHoldings;
  /** Name or id. */
  readonly image: string;
  readonly runtime: 'runc' | 'runsc';
}

export interface WorkerContainers {
  body(): WorkerBody;
  close(): Promise<void>;
}

export type WorkerContainersAnswer =
  | { readonly ok: true; readonly containers: WorkerContainers }
  | { readonly ok: false; readonly problem: string };

export async function openWorkerContainers(
  { holdings, image, runtime }: WorkerContainersOptions,
  log: Logger,
): Promise<WorkerContainersAnswer> {
  if (!holdings.canBeThere) return { ok: false, problem: 'there is no Docker' };
  const daemon = new DockerDaemon({
    engine: holdings.engine,
    image,
    imageAdvice: { build: 'npm run image -- worker', setting: 'SANDBOX_WORKER_IMAGE' },
    log,
    onConnected: () => void holdings.sweep(),
  });
  const answer = await daemon.ready(AbortSignal.timeout(LOOK_LIMIT_MS));
  const problem = answer.ok ? runtimeProblem(runtime, answer.world.facts.runtimes) : answer.problem;
  if (problem !== undefined) {
    daemon.close();
    return { ok: false, problem };
  }
  const world = holdings.world(daemon);
  let made = 0;
  return {
    ok: true,
    containers: {
      body: () =>
        new ContainerBody({ name: `flowops-${holdings.instance}-worker-${++made}`, runtime, world, daemon, log }),
      close: async () => {
        if (holdings.left.size > 0 && daemon.isConnected) await holdings.sweep();
        daemon.close();
      },
    },
  };
}

function runtimeProblem(runtime: string, known: readonly string[]): string | undefined {
  if (known.includes(runtime)) return undefined;
  return `Docker has no runtime ${runtime} (it has ${known.join(', ')}); SANDBOX_WORKER_RUNTIME names another`;
}
