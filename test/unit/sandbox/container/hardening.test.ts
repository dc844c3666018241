import { describe, expect, it } from 'vitest';
import { containerSpec, hostConfig, type SpecOptions, shapeKey } from '../../../../sandbox/container/hardening.ts';
import { hardeningGaps } from '../../../../sandbox/container/hardening-check.ts';

const SHAPE = {
  imageId: `sha256:${'a'.repeat(64)}`,
  imageEnv: ['PATH=/usr/bin'],
  runtime: 'runc',
  memoryMb: 128,
  pids: 64,
  cpus: 0.5,
  tmpfsMb: 16,
  lifeSeconds: 244,
  policyHash: 'sha256:p',
} as const;
const OPTIONS: SpecOptions = {
  name: 'one',
  shape: SHAPE,
  labels: { 'flowops.app': 'step-container' },
  seccompProfile: '{"defaultAction":"SCMP_ACT_ERRNO"}',
  hasAppArmor: true,
};

/** As Docker 20.10 and later answer: nothing is null or [], as they like; the image's labels are there too. */
function inspectedOf(options: SpecOptions): Inspected {
  const { Image, HostConfig, ...Config } = structuredClone(containerSpec(options).body);
  return {
    Image: String(Image),
    AppArmorProfile: options.hasAppArmor ? 'docker-default' : '',
    Mounts: [],
    Config: { ...Config, ExposedPorts: null, Volumes: null, Labels: { ...Object(Config.Labels), maintainer: 'us' } },
    HostConfig: {
      ...Object(HostConfig),
      Binds: null,
      CapAdd: null,
      Devices: null,
      MaskedPaths: [
        '/proc/asound',
        '/proc/kcore',
        '/proc/keys',
        '/proc/timer_list',
        '/proc/sched_debug',
        '/proc/scsi',
        '/sys/firmware',
      ],
      ReadonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  };
}

interface Inspected {
  Image: string;
  AppArmorProfile: string;
  Mounts: unknown[];
  Config: Record<string, unknown>;
  HostConfig: Record<string, unknown>;
}

function gapsAfter(change: (inspected: Inspected) => void, options = OPTIONS): string[] {
  const inspected = inspectedOf(options);
  change(inspected);
  return hardeningGaps(inspected, options);
}

describe('a container that is as it was asked for', () => {
  it.each(['runc', 'runsc'] as const)('has no gap on %s', (runtime) => {
    const options = { ...OPTIONS, shape: { ...SHAPE, runtime } };
    expect(hardeningGaps(inspectedOf(options), options)).toEqual([]);
  });
});

describe('every option', () => {
  const asked = hostConfig(OPTIONS);
  const isEmpty = (value: unknown): boolean =>
    value === '' || value === false || (typeof value === 'object' && Object.keys(value ?? {}).length === 0);

  it.each(Object.keys(asked).filter((name) => !isEmpty(asked[name])))(
    '%s is missed when Docker left it out',
    (name) => {
      expect(gapsAfter(({ HostConfig }) => delete HostConfig[name])).toEqual([`HostConfig.${name}`]);
    },
  );

  it.each(Object.keys(asked).filter((name) => isEmpty(asked[name])))('%s is missed when it holds something', (name) => {
    expect(gapsAfter(({ HostConfig }) => Object.assign(HostConfig, { [name]: ['x'] }))).toEqual([`HostConfig.${name}`]);
  });

  it.each([
    'User',
    'Entrypoint',
    'Cmd',
    'WorkingDir',
    'Env',
    'OpenStdin',
    'StdinOnce',
    'Labels',
    'Healthcheck',
    'StopSignal',
  ])('of the process, %s, is missed when it is another', (name) => {
    expect(gapsAfter(({ Config }) => Object.assign(Config, { [name]: 'another' }))).toEqual([`Config.${name}`]);
  });

  it.each([
    ['MemorySwap', -1],
    ['Memory', 0],
    ['PidsLimit', null],
    ['NanoCpus', 0],
    ['SecurityOpt', ['no-new-privileges:true', 'seccomp=unconfined', 'apparmor=docker-default']],
    ['CapDrop', ['NET_RAW']],
    ['Tmpfs', { '/tmp': 'rw,size=16777216' }],
    ['Ulimits', [{ Name: 'core', Soft: 0, Hard: 0 }]],
    ['NetworkMode', 'default'],
    ['Runtime', 'runsc'],
  ])('%s is missed when the kernel or the daemon made %j of it', (name, value) => {
    expect(gapsAfter(({ HostConfig }) => Object.assign(HostConfig, { [name]: value }))).toEqual([`HostConfig.${name}`]);
  });

  it('beside the asked ones counts too: mounts, image, AppArmor, the paths a daemon hides', () => {
    expect(gapsAfter((inspected) => inspected.Mounts.push({ Type: 'volume' }))).toEqual(['Mounts']);
    expect(gapsAfter((inspected) => Object.assign(inspected, { Image: 'sha256:other' }))).toEqual(['Image']);
    expect(gapsAfter((inspected) => Object.assign(inspected, { AppArmorProfile: '' }))).toEqual(['AppArmorProfile']);
    expect(gapsAfter(({ HostConfig }) => Object.assign(HostConfig, { MaskedPaths: [] }))).toEqual([
      'HostConfig.MaskedPaths',
    ]);
    expect(gapsAfter(({ HostConfig }) => Object.assign(HostConfig, { ReadonlyPaths: null }))).toEqual([
      'HostConfig.ReadonlyPaths',
    ]);
  });

  it('is a gap when the answer cannot be read at all', () => {
    expect(hardeningGaps('nonsense', OPTIONS)).toEqual(['the answer of inspect']);
  });
});

describe('what a container is made with', () => {
  it('is the checklist, word for word', () => {
    expect(containerSpec(OPTIONS).body).toMatchObject({
      Image: SHAPE.imageId,
      User: '65532:65532',
      Entrypoint: ['/init'],
      Env: ['PATH=/usr/bin'],
      Tty: false,
      OpenStdin: true,
      StdinOnce: true,
      HostConfig: {
        Privileged: false,
        CapDrop: ['ALL'],
        SecurityOpt: [
          'no-new-privileges:true',
          'seccomp={"defaultAction":"SCMP_ACT_ERRNO"}',
          'apparmor=docker-default',
        ],
        NetworkMode: 'none',
        IpcMode: 'none',
        ReadonlyRootfs: true,
        Binds: [],
        Mounts: [],
        Devices: [],
        Memory: 134_217_728,
        MemorySwap: 134_217_728,
        NanoCpus: 500_000_000,
        PidsLimit: 64,
        LogConfig: { Type: 'none' },
        RestartPolicy: { Name: 'no' },
        AutoRemove: false,
        Init: false,
      },
    });
  });

  it('gives the step the only place to write, without programs and with an end', () => {
    const tmpfs = String(Object(hostConfig(OPTIONS).Tmpfs)['/tmp']);
    expect(tmpfs.split(',')).toEqual(
      expect.arrayContaining([
        'noexec',
        'nosuid',
        'nodev',
        'size=16777216',
        'nr_inodes=4096',
        'uid=65532',
        'gid=65532',
      ]),
    );
  });

  it('is no seccomp profile on gVisor, which has none, and a PID 1 that it can start', () => {
    const body = containerSpec({ ...OPTIONS, shape: { ...SHAPE, runtime: 'runsc' } }).body;
    expect(body.Entrypoint).toEqual(['/init-readable']);
    expect(Object(body.HostConfig).SecurityOpt).toEqual(['no-new-privileges:true', 'apparmor=docker-default']);
  });

  it('names its hard life time to PID 1', () => {
    expect(Object(containerSpec(OPTIONS).body).Cmd[0]).toBe('244');
  });

  it('differs in its key as soon as one of its numbers does', () => {
    const others = [
      { ...SHAPE, memoryMb: 64 },
      { ...SHAPE, pids: 65 },
      { ...SHAPE, cpus: 1 },
      { ...SHAPE, tmpfsMb: 8 },
      { ...SHAPE, lifeSeconds: 300 },
      { ...SHAPE, policyHash: 'sha256:q' },
      { ...SHAPE, runtime: 'runsc' as const },
      { ...SHAPE, imageId: 'sha256:b' },
    ];
    expect(new Set([SHAPE, ...others].map(shapeKey)).size).toBe(others.length + 1);
  });
});
