/** What this machine can enforce, in lines for a person: found out by looking and by trying, never assumed. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, availableParallelism, release, totalmem } from 'node:os';
import { messageOf } from '@flowops/proto/errors.ts';
import { IS_PACKED } from '@flowops/proto/own-module.ts';
import { z } from 'zod';
import { openJail } from '../isolate/jail.ts';
import { workerFiles } from '../isolate/worker-files.ts';
import type { DockerFacts, DockerView } from './docker-view.ts';
import type { HoleFinding, Versions } from './known-holes.ts';

export interface MachineLine {
  readonly name: string;
  readonly text: string;
  /** False: something that steps need is not to be had here. */
  readonly ok: boolean;
}

export interface MachineOptions {
  readonly docker: { readonly view: DockerView; readonly facts: DockerFacts } | { readonly problem: string };
  /** SANDBOX_IMAGE. */
  readonly image: string;
  /** SANDBOX_WORKER_IMAGE. */
  readonly workerImage: string;
  readonly versions: Versions;
  readonly holes: readonly HoleFinding[];
}

const packageSchema = z.object({ version: z.string() });

/** Never throws. */
export async function describeMachine(options: MachineOptions): Promise<readonly MachineLine[]> {
  return [
    line(
      'node',
      `${process.version}, ${process.platform} ${arch()}, ${availableParallelism()} cores, ${megabytes()} MB`,
    ),
    ...(process.platform === 'linux'
      ? [line('kernel', options.versions.kernel ?? release()), seccomp(), cgroups()]
      : []),
    isolatedVm(),
    await jail(options),
    ...(await docker(options)),
    // What is only named asks nobody to do anything.
    ...options.holes.map(({ id, message, isExcepted }) => line(id, message.replace(`${id} in `, ''), isExcepted)),
  ];
}

function line(name: string, text: string, ok = true): MachineLine {
  return { name, text, ok };
}

function megabytes(): number {
  const constrained = process.constrainedMemory();
  return Math.floor((constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()) / 1024 / 1024);
}

function isolatedVm(): MachineLine {
  const require = createRequire(import.meta.url);
  try {
    const { version } = packageSchema.parse(require('isolated-vm/package.json'));
    return line('isolated-vm', `${version} (below 7.0.1 no host starts)`);
  } catch {
    return line('isolated-vm', 'is not installed here: no isolate tier; the container tier does without', false);
  }
}

async function jail(options: MachineOptions): Promise<MachineLine> {
  try {
    const opened = await openJail(await workerFiles());
    if (!opened.ok) return withoutJail(`none: ${opened.problem}`, options);
    const refusal = await opened.jail.probe();
    await opened.jail.close();
    if (refusal !== undefined) return withoutJail(`refused: ${refusal}`, options);
    const users = opened.jail.foreignUid === undefined ? 'under your own uid' : 'each under a uid of its own';
    return line('jail', `namespaces: user, net, pid, mount, ipc, uts; workers run ${users}`);
  } catch (thrown) {
    return line('jail', `could not be tried: ${messageOf(thrown)}`, false);
  }
}

/** Containers take the place of jails where Docker has their image. */
async function withoutJail(problem: string, { docker: found, workerImage }: MachineOptions): Promise<MachineLine> {
  const id = 'view' in found ? await found.view.imageId(workerImage).catch(() => undefined) : undefined;
  if (id !== undefined) return line('jail', `${problem}; isolate workers are containers of ${workerImage} instead`);
  const missing =
    'view' in found
      ? `${workerImage} is not there (npm run image -- worker${IS_PACKED ? ' in a clone of FlowOps' : ''})`
      : 'there is no Docker';
  const without = 'the isolate tier takes only plugins whose rule says `jail: none`';
  return line('jail', `${problem}, and ${missing} for workers in containers; ${without}`, false);
}

function seccomp(): MachineLine {
  const actions = read('/proc/sys/kernel/seccomp/actions_avail');
  return actions === undefined
    ? line('seccomp', 'the kernel does not offer it: system calls of containers are not filtered', false)
    : line('seccomp', 'filters are offered by the kernel');
}

function cgroups(): MachineLine {
  const controllers = read('/sys/fs/cgroup/cgroup.controllers');
  if (controllers !== undefined) {
    return line('cgroups', `version 2: ${controllers.trim() || 'no controller'}`, /\bmemory\b/.test(controllers));
  }
  const mounted = ['memory', 'cpu', 'pids'].filter((name) => existsSync(`/sys/fs/cgroup/${name}`));
  if (mounted.length === 0) {
    return line('cgroups', 'none: memory of workers is watched by the host every 20 ms instead', false);
  }
  return line('cgroups', `version 1: ${mounted.join(', ')}`, mounted.includes('memory'));
}

async function docker({ docker: found, image, versions }: MachineOptions): Promise<MachineLine[]> {
  if ('problem' in found) return [line('docker', `does not answer (${found.problem}): no container tier`, false)];
  const { facts, view } = found;
  const lacks = facts.lacks.length === 0 ? '' : `; its kernel cannot limit ${facts.lacks.join(', ')}`;
  const lines = [
    line('docker', `${facts.version}, cgroup version ${facts.cgroupVersion}${lacks}`, facts.lacks.length === 0),
  ];
  for (const runtime of ['runc', 'runsc'] as const) {
    const isThere = facts.runtimes.includes(runtime);
    const version = versions[runtime] ?? 'of unknown version';
    lines.push(line(runtime, isThere ? version : 'is not known to Docker here', isThere || runtime === 'runsc'));
  }
  const seccompOn = facts.securityOptions.some((option) => option.includes('seccomp'));
  lines.push(line('docker seccomp', seccompOn ? 'on' : 'off: our profile would not be applied', seccompOn));
  const id = await view.imageId(image).catch(() => undefined);
  lines.push(
    line(
      'image',
      id === undefined ? `${image} is not there: build it (docs/sandbox.md)` : `${image} ${id.slice(0, 19)}`,
      id !== undefined,
    ),
  );
  return lines;
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
