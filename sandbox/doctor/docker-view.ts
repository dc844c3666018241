/** What the doctor asks Docker: versions, runtimes, images, and which containers a host of ours has. Reads only. */
import { messageOf } from '@flowops/proto/errors.ts';
import Docker from 'dockerode';
import { z } from 'zod';
import { usualSocket } from '../container/usual-socket.ts';

/** A daemon that does not answer by then is as good as none. */
const TIMEOUT_MS = 5_000;

const versionSchema = z.object({
  Version: z.string(),
  Components: z.array(z.object({ Name: z.string(), Version: z.string() })).optional(),
});
const infoSchema = z.object({
  Runtimes: z.record(z.string(), z.unknown()).optional(),
  SecurityOptions: z.array(z.string()).nullish(),
  CgroupVersion: z.string().optional(),
  CgroupDriver: z.string().optional(),
  KernelVersion: z.string().optional(),
  OperatingSystem: z.string().optional(),
  MemoryLimit: z.boolean().optional(),
  SwapLimit: z.boolean().optional(),
  CpuCfsQuota: z.boolean().optional(),
  PidsLimit: z.boolean().optional(),
});

export interface DockerFacts {
  readonly version: string;
  /** "runc" → "1.1.5", "containerd" → …; as the daemon names its parts. */
  readonly components: Readonly<Record<string, string>>;
  readonly runtimes: readonly string[];
  readonly securityOptions: readonly string[];
  readonly cgroupVersion: string;
  readonly kernel: string;
  readonly system: string;
  /** Limits that its kernel lacks. */
  readonly lacks: readonly ('memory' | 'cpus' | 'pids')[];
}

export interface DockerView {
  facts(): Promise<DockerFacts>;
  /** Its id; undefined when it is not there. */
  imageId(name: string): Promise<string | undefined>;
  /** Ids of all containers, also ended ones, that carry this name in one of their labels. */
  containersOf(hostInstance: string): Promise<readonly string[]>;
  /** Of those the ones that run. */
  runningOf(hostInstance: string): Promise<readonly string[]>;
}

export type DockerResult =
  | { readonly ok: true; readonly docker: DockerView; readonly facts: DockerFacts }
  | { readonly ok: false; readonly problem: string };

/**
 * Never throws.
 * @param host as DOCKER_HOST takes it; absent: that variable, or the usual socket.
 */
export async function openDockerView(host?: string): Promise<DockerResult> {
  try {
    const address = host ?? process.env.DOCKER_HOST;
    const socketPath = address?.startsWith('unix://')
      ? address.slice('unix://'.length)
      : address
        ? undefined
        : usualSocket();
    const where = socketPath === undefined ? {} : { socketPath };
    const docker = viewOf(new Docker({ ...where, timeout: TIMEOUT_MS }));
    return { ok: true, docker, facts: await docker.facts() };
  } catch (thrown) {
    return { ok: false, problem: messageOf(thrown).split('\n')[0] ?? '' };
  }
}

function viewOf(docker: Docker): DockerView {
  return {
    facts: async () => {
      const version = versionSchema.parse(await docker.version());
      const info = infoSchema.parse(await docker.info());
      const components = (version.Components ?? []).map(({ Name, Version }) => [Name.toLowerCase(), Version]);
      return {
        version: version.Version,
        components: Object.fromEntries(components),
        runtimes: Object.keys(info.Runtimes ?? {}).sort(),
        securityOptions: info.SecurityOptions ?? [],
        cgroupVersion: info.CgroupVersion ?? '1',
        kernel: info.KernelVersion ?? '',
        system: info.OperatingSystem ?? '',
        lacks: [
          ...(info.MemoryLimit === false || info.SwapLimit === false ? (['memory'] as const) : []),
          ...(info.CpuCfsQuota === false ? (['cpus'] as const) : []),
          ...(info.PidsLimit === false ? (['pids'] as const) : []),
        ],
      };
    },
    imageId: async (name) => {
      try {
        return z.object({ Id: z.string() }).parse(await docker.getImage(name).inspect()).Id;
      } catch (thrown) {
        if (isNotFound(thrown)) return undefined;
        throw thrown;
      }
    },
    containersOf: (hostInstance) => labelled(docker, hostInstance, true),
    runningOf: (hostInstance) => labelled(docker, hostInstance, false),
  };
}

async function labelled(docker: Docker, text: string, all: boolean): Promise<readonly string[]> {
  const listed = await docker.listContainers({ all });
  return listed
    .filter(({ Labels }) => Object.values(Labels ?? {}).some((value) => value.includes(text)))
    .map(({ Id }) => Id);
}

function isNotFound(thrown: unknown): boolean {
  return thrown instanceof Error && 'statusCode' in thrown && thrown.statusCode === 404;
}
