/**
 * The closed set of options that every container of ours is made with, a step's or an isolate worker's (design 5.2): from
 * a shape and who makes it to the words of Docker's API. Nothing else decides over an option, and no plugin, flow or
 * command reaches this file with more than the numbers of ContainerShape. What Docker made of it is read back by
 * hardening-check.ts. Pure.
 *
 *   no way out    NetworkMode and IpcMode none, no binds, mounts, devices, links, ports, groups or other namespaces
 *   no power      uid 65532, no capability, no-new-privileges, our seccomp profile (gVisor filters by itself)
 *   no room       read-only root, one small tmpfs, memory = memory + swap, cpus, pids, files, no core
 *   no traces     no log, no restart, no docker-init; the host removes it itself
 */
import type { ContainerSpec } from './docker-engine.ts';

export const STEP_USER = '65532:65532';
const RUNNER = ['/usr/local/bin/node', '--disable-sigusr1', '/runner/runner.cjs', '3', '4'];
/** A worker is told what its jail would tell it too (isolate/jail.ts). */
const WORKER = [
  ...['/usr/local/bin/node', '--disable-sigusr1', '--no-node-snapshot'],
  ...['--permission', '--allow-addons', '--allow-fs-read=*', '--disable-warning=SecurityWarning'],
  ...['/worker/worker.mjs', '3', '4'],
];
/** PID 1. The first can only be executed, so nothing can read or trace it; gVisor cannot start such a file, but denies both. */
const INIT = { runc: '/init', runsc: '/init-readable' } as const;
/** The runner's own look at its CPU must not end a step before its limit: gVisor's clock of it runs ahead by two fifths. */
const CPU_CLOCK_RATE = { runc: '1', runsc: '1.5' } as const;
const OPEN_FILES = 1024;
/** A small file needs one; more than this many fill the kernel's memory rather than the tmpfs. */
const TMPFS_INODES = 4096;
/** Beside 1024 for everybody else: a step gets what others leave when the machine is full. */
const CPU_SHARES = 256;
/** When the machine runs out of memory, a step goes before the services that serve it. */
const OOM_SCORE_ADJ = 500;
const MIB = 1024 * 1024;

/** What makes one container different from another. A step runs only in one of its own shape. */
export interface ContainerShape {
  /** `sha256:<64 hex>` */
  readonly imageId: string;
  /** Of the image; nothing is added. */
  readonly imageEnv: readonly string[];
  readonly runtime: 'runc' | 'runsc';
  /** Default: a step's runner. */
  readonly program?: 'isolate-worker';
  readonly memoryMb: number;
  readonly pids: number;
  /** 0: as many as there are. */
  readonly cpus: number;
  /** 0: nothing in it can be written to. */
  readonly tmpfsMb: number;
  /** PID 1 ends everything then, whatever became of the host. */
  readonly lifeSeconds: number;
  readonly policyHash: string;
}

export interface SpecOptions {
  readonly name: string;
  readonly shape: ContainerShape;
  readonly labels: Readonly<Record<string, string>>;
  /** JSON text. */
  readonly seccompProfile: string;
  /** The daemon knows AppArmor. */
  readonly hasAppArmor: boolean;
}

/** Two shapes with the same key are interchangeable. */
export function shapeKey(shape: ContainerShape): string {
  const { imageId, runtime, memoryMb, pids, cpus, tmpfsMb, lifeSeconds, policyHash } = shape;
  return [imageId, runtime, memoryMb, pids, cpus, tmpfsMb, lifeSeconds, policyHash].join(' ');
}

export function containerSpec(options: SpecOptions): ContainerSpec {
  const config = containerConfig(options);
  return { name: options.name, body: { ...config, Image: options.shape.imageId, HostConfig: hostConfig(options) } };
}

/** The container's own half: as whom and what it runs. Read back from `Config`. */
export function containerConfig({ shape, labels }: SpecOptions): Record<string, unknown> {
  return {
    User: STEP_USER,
    Hostname: shape.program === undefined ? 'step' : 'worker',
    Domainname: '',
    Entrypoint: [INIT[shape.runtime]],
    Cmd: [
      String(shape.lifeSeconds),
      ...(shape.program === undefined ? [...RUNNER, CPU_CLOCK_RATE[shape.runtime]] : WORKER),
    ],
    WorkingDir: '/tmp',
    Env: [...shape.imageEnv],
    Labels: { ...labels },
    Tty: false,
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    // The namespace of its own and empty, as with NetworkMode none, but made by the runtime alone: Docker's own way runs
    // the daemon's program twice for each container, which costs more than all the rest of its making.
    NetworkDisabled: true,
    ExposedPorts: {},
    Volumes: {},
    // An image's own health check would be a second process in it, started by the daemon again and again.
    Healthcheck: { Test: ['NONE'] },
    // A daemon that ends, or comes back after a crash, stops them; PID 1 takes no other signal and it would wait 10 s.
    StopSignal: 'SIGKILL',
  };
}

/** What the kernel is asked for. Read back from `HostConfig`; an empty value must be read back empty. */
export function hostConfig({ shape, seccompProfile, hasAppArmor }: SpecOptions): Record<string, unknown> {
  const security = ['no-new-privileges:true'];
  if (shape.runtime === 'runc') security.push(`seccomp=${seccompProfile}`);
  if (hasAppArmor) security.push('apparmor=docker-default');
  const [uid, gid] = STEP_USER.split(':');
  const tmpfsBytes = shape.tmpfsMb * MIB;
  const tmpfs = `rw,noexec,nosuid,nodev,size=${tmpfsBytes},nr_inodes=${TMPFS_INODES},uid=${uid},gid=${gid},mode=0700`;
  return {
    Runtime: shape.runtime,
    Privileged: false,
    CapAdd: [],
    CapDrop: ['ALL'],
    SecurityOpt: security,
    GroupAdd: [],
    Devices: [],
    DeviceRequests: [],
    DeviceCgroupRules: [],
    Sysctls: {},
    NetworkMode: 'none',
    PortBindings: {},
    PublishAllPorts: false,
    Links: [],
    Dns: [],
    ExtraHosts: [],
    IpcMode: 'none',
    PidMode: '',
    UTSMode: '',
    UsernsMode: '',
    CgroupnsMode: 'private',
    CgroupParent: '',
    ReadonlyRootfs: true,
    Binds: [],
    Mounts: [],
    VolumesFrom: [],
    Tmpfs: shape.tmpfsMb === 0 ? {} : { '/tmp': tmpfs },
    Memory: shape.memoryMb * MIB,
    MemorySwap: shape.memoryMb * MIB,
    OomKillDisable: false,
    OomScoreAdj: OOM_SCORE_ADJ,
    NanoCpus: Math.round(shape.cpus * 1e9),
    CpuShares: CPU_SHARES,
    PidsLimit: shape.pids,
    Ulimits: [
      { Name: 'nofile', Soft: OPEN_FILES, Hard: OPEN_FILES },
      { Name: 'fsize', Soft: tmpfsBytes, Hard: tmpfsBytes },
      { Name: 'core', Soft: 0, Hard: 0 },
    ],
    LogConfig: { Type: 'none', Config: {} },
    RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
    AutoRemove: false,
    Init: false,
  };
}
