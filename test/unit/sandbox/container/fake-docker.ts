/**
 * A Docker daemon driven by hand: its containers have a runner that speaks the real protocol, and do only what a test
 * tells them. No clock, no process.
 */
import { Duplex } from 'node:stream';
import { Peer, type PeerMessage, type PeerMessageInit } from '@flowops/proto/peer.ts';
import type {
  ContainerFacts,
  ContainerSpec,
  DockerAnswer,
  DockerEngine,
  DockerFailure,
  ImageFacts,
  ListedContainer,
} from '../../../../sandbox/container/docker-engine.ts';

export const IMAGE: ImageFacts = { id: `sha256:${'a'.repeat(64)}`, env: [], labels: {} };
const MASKED = ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/sched_debug', '/proc/scsi', '/sys/firmware'];
const READONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** Two ends of one connection. */
function pair(): [Duplex, Duplex] {
  const ends: Duplex[] = [];
  for (const at of [0, 1]) {
    ends.push(
      new Duplex({
        read: () => {},
        write: (chunk, _encoding, done) => {
          ends[1 - at]?.push(chunk);
          done();
        },
        final: (done) => {
          ends[1 - at]?.push(null);
          done();
        },
        destroy: (error, done) => {
          const other = ends[1 - at];
          if (other !== undefined && !other.destroyed) setImmediate(() => other.destroy());
          done(error);
        },
      }),
    );
  }
  const [near, far] = ends;
  if (near === undefined || far === undefined) throw new Error('two ends were made');
  return [near, far];
}

export class FakeContainer {
  readonly id: string;
  name: string;
  readonly spec: ContainerSpec;
  readonly messages: PeerMessage[] = [];
  runner: Peer | undefined;
  isRunning = false;
  isOomKilled = false;
  exitCode = 0;
  isRemoved = false;
  kills = 0;
  /** As it was changed. */
  memoryBytes: number | undefined;
  readonly #near: Duplex;
  readonly #far: Duplex;
  #waiters: { name: PeerMessage['case']; resolve: (message: PeerMessage) => void }[] = [];

  constructor(id: string, spec: ContainerSpec) {
    this.id = id;
    this.name = spec.name;
    this.spec = spec;
    [this.#near, this.#far] = pair();
  }

  get stream(): Duplex {
    return this.#near;
  }

  start(): void {
    this.isRunning = true;
    this.runner = new Peer({
      stream: this.#far,
      side: 'runner',
      role: 'step-runner',
      instance: this.id,
      accepts: ['host'],
      onMessage: (message) => {
        this.messages.push(message);
        const waiting = this.#waiters.find(({ name }) => name === message.case);
        if (waiting === undefined) return;
        this.#waiters = this.#waiters.filter((one) => one !== waiting);
        waiting.resolve(message);
      },
    });
  }

  /** The first message of that name, also one that came before. */
  received(name: PeerMessage['case']): Promise<PeerMessage> {
    const known = this.messages.find((message) => message.case === name);
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve) => this.#waiters.push({ name, resolve }));
  }

  async token(): Promise<Uint8Array> {
    const invoke = await this.received('invoke');
    if (invoke.case !== 'invoke') throw new Error('unreachable');
    return invoke.value.token;
  }

  say(message: PeerMessageInit): void {
    this.runner?.send(message);
  }

  /** It ended by itself. */
  exit(how: { exitCode?: number; isOomKilled?: boolean } = {}): void {
    this.isRunning = false;
    this.exitCode = how.exitCode ?? 1;
    this.isOomKilled = how.isOomKilled ?? false;
    // What its runner wrote before still arrives.
    if (this.runner === undefined) this.#far.end();
    else this.runner.close('it ended');
  }
}

type Call = keyof DockerEngine;

export class FakeDocker implements DockerEngine {
  readonly containers: FakeContainer[] = [];
  readonly calls: string[] = [];
  runtimes: readonly string[] = ['runc', 'runsc'];
  knownImage: ImageFacts | undefined = IMAGE;
  isGone = false;
  /** Runners do not begin to speak by themselves. */
  isSilent = false;
  /** Asked what a container takes, it does not answer. */
  neverMeasures = false;
  /** What Docker makes of the options. */
  weaken: (hostConfig: Record<string, unknown>) => void = () => {};
  readonly failures = new Map<Call, DockerFailure>();
  #lost: (() => void)[] = [];
  #created: (() => void)[] = [];

  /** The daemon is gone: every call fails, every connection ends. */
  lose(): void {
    this.isGone = true;
    for (const container of this.containers) if (container.isRunning) container.exit({ exitCode: 123 });
    for (const lost of this.#lost.splice(0)) lost();
  }

  async nth(index: number): Promise<FakeContainer> {
    for (;;) {
      const container = this.containers[index];
      if (container !== undefined) return container;
      await new Promise<void>((resolve) => this.#created.push(resolve));
    }
  }

  daemon = () => this.#answer('daemon', () => ({ version: '20.10', runtimes: this.runtimes, security: ['seccomp'] }));

  image = (name: string) =>
    this.#answer('image', () => this.knownImage ?? refusal('not-found', `No such image: ${name}`));

  create = (spec: ContainerSpec) =>
    this.#answer('create', () => {
      const container = new FakeContainer(`c${this.containers.length + 1}`, spec);
      this.containers.push(container);
      for (const created of this.#created.splice(0)) created();
      return container.id;
    });

  attach = (id: string) =>
    this.#answer('attach', () => ({ stream: this.#find(id).stream, lastWords: () => 'its last words' }));

  start = (id: string) =>
    this.#answer('start', () => {
      if (!this.isSilent) this.#find(id).start();
    });

  inspect = (id: string) => this.#answer('inspect', () => this.#facts(id));

  use = () => {
    const answer = this.#answer('use', () => ({ cpuMs: 12, memoryBytes: 30, peakMemoryBytes: 34 }));
    return this.neverMeasures ? new Promise<never>(() => {}) : answer;
  };

  resize = (id: string, memoryBytes: number) =>
    this.#answer('resize', () => {
      this.#find(id).memoryBytes = memoryBytes;
    });

  rename = (id: string, name: string) =>
    this.#answer('rename', () => {
      this.#find(id).name = name;
    });

  kill = (id: string) =>
    this.#answer('kill', () => {
      const container = this.#find(id);
      container.kills++;
      if (container.isRunning) container.exit({ exitCode: 137 });
    });

  unpause = () => this.#answer('unpause', () => undefined);

  remove = (id: string) =>
    this.#answer('remove', () => {
      const container = this.#find(id);
      if (container.isRunning) container.exit({ exitCode: 137 });
      container.isRemoved = true;
    });

  list = () => this.#answer('list', (): readonly ListedContainer[] => []);

  watch = (signal: AbortSignal): Promise<DockerFailure> =>
    new Promise((resolve) => {
      const gone = (): void => resolve({ kind: 'unreachable', problem: 'the connection was lost' });
      if (this.isGone) gone();
      this.#lost.push(gone);
      signal.addEventListener('abort', () => resolve({ kind: 'aborted', problem: 'closed' }), { once: true });
    });

  async #answer<T>(name: Call, make: () => T | Refusal): Promise<DockerAnswer<T>> {
    this.calls.push(name);
    if (this.isGone) return { ok: false, failure: { kind: 'unreachable', problem: 'connect ECONNREFUSED' } };
    const failure = this.failures.get(name);
    if (failure !== undefined) return { ok: false, failure };
    const value = make();
    return value instanceof Refusal ? { ok: false, failure: value.failure } : { ok: true, value };
  }

  #find(id: string): FakeContainer {
    const container = this.containers.find((one) => one.id === id);
    if (container === undefined) throw new Error(`no container ${id}`);
    return container;
  }

  #facts(id: string): ContainerFacts | Refusal {
    const { spec, isRunning, exitCode, isOomKilled, isRemoved } = this.#find(id);
    if (isRemoved) return refusal('not-found', `No such container: ${id}`);
    const { Image, HostConfig, ...Config } = structuredClone(spec.body);
    const hostConfig: Record<string, unknown> = { ...Object(HostConfig), MaskedPaths: MASKED, ReadonlyPaths: READONLY };
    this.weaken(hostConfig);
    const inspected = { Image, Mounts: [], Config, HostConfig: hostConfig };
    return { isRunning, pid: 0, exitCode, isOomKilled, error: '', imageId: String(Image), inspected };
  }
}

class Refusal {
  readonly failure: DockerFailure;

  constructor(failure: DockerFailure) {
    this.failure = failure;
  }
}

function refusal(kind: DockerFailure['kind'], problem: string): Refusal {
  return new Refusal({ kind, problem });
}
