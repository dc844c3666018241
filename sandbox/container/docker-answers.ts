/** Docker's answers and errors as types of docker-engine.ts. Only what the tier uses is read. Pure. */
import { messageOf } from '@flowops/proto/errors.ts';
import { z } from 'zod';
import type {
  ContainerFacts,
  ContainerUse,
  DaemonFacts,
  DockerFailure,
  ImageFacts,
  ListedContainer,
} from './docker-engine.ts';

/** A daemon's sentence, for people. */
const MAX_PROBLEM_LENGTH = 500;
const NS_PER_MS = 1e6;

const infoSchema = z.object({
  ServerVersion: z.string().default('unknown'),
  Runtimes: z.record(z.string(), z.unknown()).default({}),
  SecurityOptions: z.array(z.string()).nullish(),
});

export function readDaemon(answer: unknown): DaemonFacts {
  const { ServerVersion, Runtimes, SecurityOptions } = infoSchema.parse(answer);
  return {
    version: ServerVersion,
    runtimes: Object.keys(Runtimes),
    // "name=seccomp,profile=default"
    security: (SecurityOptions ?? []).map((option) => /name=([^,]+)/.exec(option)?.[1] ?? option),
  };
}

const imageSchema = z.object({
  Id: z.string(),
  Config: z
    .object({ Env: z.array(z.string()).nullish(), Labels: z.record(z.string(), z.string()).nullish() })
    .nullish(),
});

export function readImage(answer: unknown): ImageFacts {
  const { Id, Config } = imageSchema.parse(answer);
  return { id: Id, env: Config?.Env ?? [], labels: Config?.Labels ?? {} };
}

const createdSchema = z.object({ Id: z.string() });

export function readCreated(answer: unknown): string {
  return createdSchema.parse(answer).Id;
}

const containerSchema = z.object({
  Image: z.string(),
  State: z.object({
    Running: z.boolean(),
    Pid: z.number(),
    ExitCode: z.number(),
    OOMKilled: z.boolean(),
    Error: z.string().default(''),
  }),
});

export function readContainer(answer: unknown): ContainerFacts {
  const { Image, State } = containerSchema.parse(answer);
  return {
    isRunning: State.Running,
    pid: State.Pid,
    exitCode: State.ExitCode,
    isOomKilled: State.OOMKilled,
    error: State.Error,
    imageId: Image,
    inspected: answer,
  };
}

const useSchema = z.object({
  cpu_stats: z.object({ cpu_usage: z.object({ total_usage: z.number() }).nullish() }).nullish(),
  memory_stats: z.object({ usage: z.number().nullish(), max_usage: z.number().nullish() }).nullish(),
});

export function readUse(answer: unknown): ContainerUse {
  const { cpu_stats, memory_stats } = useSchema.parse(answer);
  const nanoseconds = cpu_stats?.cpu_usage?.total_usage;
  return {
    // Of a container that does not run any more Docker tells zeros.
    cpuMs: nanoseconds === undefined || nanoseconds === 0 ? undefined : nanoseconds / NS_PER_MS,
    memoryBytes: memory_stats?.usage ?? undefined,
    peakMemoryBytes: memory_stats?.max_usage ?? undefined,
  };
}

const listSchema = z.array(
  z.object({
    Id: z.string(),
    Names: z.array(z.string()).nullish(),
    Labels: z.record(z.string(), z.string()).nullish(),
    State: z.string(),
    Created: z.number(),
  }),
);

export function readList(answer: unknown): ListedContainer[] {
  return listSchema.parse(answer).map(({ Id, Names, Labels, State, Created }) => ({
    id: Id,
    names: (Names ?? []).map((name) => name.replace(/^\//, '')),
    labels: Labels ?? {},
    state: State,
    createdMs: Created * 1000,
  }));
}

const httpErrorSchema = z.object({
  statusCode: z.number(),
  json: z.object({ message: z.string() }).optional().catch(undefined),
});

/** `wasAborted`: the caller's own signal, not the time limit of the call. */
export function readFailure(thrown: unknown, wasAborted: boolean): DockerFailure {
  if (wasAborted) return { kind: 'aborted', problem: 'the call was given up' };
  const answer = httpErrorSchema.safeParse(thrown);
  if (!answer.success) return { kind: 'unreachable', problem: bounded(messageOf(thrown)) };
  const { statusCode, json } = answer.data;
  const problem = bounded(json?.message ?? messageOf(thrown));
  switch (statusCode) {
    case 404:
      return { kind: 'not-found', problem };
    case 304:
    case 409:
      return { kind: 'conflict', problem };
    default:
      return { kind: 'refused', problem };
  }
}

function bounded(text: string): string {
  return text.trim().slice(0, MAX_PROBLEM_LENGTH);
}
