/**
 * One step in one container: gives it bundle and inputs, takes what its runner says, and watches wall, CPU and log from
 * outside. It asks for the end of its container once; the container proves the end and settles the step.
 *
 * Nothing here trusts the runner: the plugin may have become it. Its frames count for this step only, its Result first
 * (design 5.4), and every figure comes from the kernel or from Docker.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Peer, PeerMessage } from '@flowops/proto/peer.ts';
import { LiveStep, type SandboxFigures } from '../steps/live-step.ts';
import { bundlePieces, invokeMessage } from '../steps/sandbox-messages.ts';
import { STARVED, type StepEnd, type StepEvents, type StepHandle } from '../steps/step-end.ts';
import { keptCall, putBundle, StepLine } from '../steps/step-line.ts';
import type { AttemptJob, TierHostCall } from '../tier.ts';
import type { ContainerEnd } from './container-blame.ts';
import type { ContainerUse, DockerAnswer } from './docker-engine.ts';
import type { KernelView } from './kernel-view.ts';

/** Memory grows by a gigabyte a second, and a cgroup is gone some milliseconds after its last process. */
const WATCH_MS = 20;
/** Docker takes some milliseconds for an answer and reads every cgroup of the container for it. */
const ASK_DOCKER_MS = 500;
/** Frames about nothing of ours; a runner of ours sends none. */
const MAX_FOREIGN_FRAMES = 1_000;
/** Of its limit; the kernel kills when it cannot find the rest. */
const FULL_SHARE = 0.97;
const MIB = 1024 * 1024;
/**
 * For figures of a step that has ended, where only Docker can tell them: newer ones answer in 10 ms, Docker 20.10 at its
 * next second. No step waits that long for its receipt.
 */
const LAST_LOOK_MS = 150;
/** A container that may have this little of a core is slow by its own limit, not because of others. */
const MIN_CPUS_TO_STARVE = 0.2;

export interface ServedStepOptions {
  readonly peer: Peer;
  readonly job: AttemptJob;
  readonly events: StepEvents;
  readonly cpus: number;
  readonly view: KernelView | undefined;
  /** As Docker told it of the waiting container, where the kernel cannot be seen. */
  readonly before: ContainerUse | undefined;
  /** Asked where the kernel cannot be seen. */
  readonly use: () => Promise<DockerAnswer<ContainerUse>>;
  /** The container is to be ended. At most once. */
  readonly onOver: (end: ContainerEnd) => void;
}

/** From the container's cgroup or from Docker; what neither tells is null. */
export interface StepFigures {
  readonly cpuMs: number | null;
  readonly peakMemoryBytes: number | null;
}

export class ServedStep implements StepHandle {
  readonly #options: ServedStepOptions;
  readonly #token = randomBytes(16);
  readonly #clock: LiveStep;
  #watch: NodeJS.Timeout | undefined;
  #isAsking = false;
  #isOver = false;
  #foreignFrames = 0;
  readonly #told = Promise.withResolvers<void>();
  #result: Extract<ContainerEnd, { kind: 'result' }> | undefined;
  /** CPU that the container took before it had the step. */
  #baseCpuMs: number | undefined;
  /** Seen only later, it would hide what the step took until then. */
  #isBaseKnown = false;
  #cpuMs: number | undefined;
  #peakMemoryBytes: number | undefined;
  /** What was seen is all that the step took: the kernel's figures, or Docker's from after its end. */
  #isWhole = false;
  #oomKills = 0;

  readonly #line: StepLine;

  constructor(options: ServedStepOptions) {
    this.#options = options;
    this.#line = new StepLine(options.peer, () => !this.#isOver);
    this.#clock = new LiveStep({
      token: this.#token,
      job: options.job,
      events: options.events,
      othersCpuMs: 0,
      onOverdue: (end) => this.end(this.#isStarved(end) ? STARVED : end),
    });
  }

  begin(): void {
    const { peer, job, view, before } = this.#options;
    this.#take(before?.cpuMs, before?.peakMemoryBytes);
    this.#look();
    this.#isBaseKnown = this.#baseCpuMs !== undefined;
    this.#watch = setInterval(() => this.#look(), view === undefined ? ASK_DOCKER_MS : WATCH_MS);
    putBundle(peer, bundlePieces(job.bundle));
    this.#line.invoke(invokeMessage(this.#token, job), () =>
      this.end({ kind: 'charged', code: 'INPUT_INVALID', detail: 'its inputs are too large' }),
    );
  }

  cancel({ graceMs, reason }: { graceMs: number; reason: string }): void {
    if (!this.#clock.cancel(graceMs)) return;
    this.#line.tell({ case: 'cancel', value: { token: this.#token, graceMs, reason } });
  }

  pause(): void {
    if (!this.#isOver) this.#line.tell({ case: 'pause', value: { token: this.#token } });
  }

  resume(): void {
    if (!this.#isOver) this.#line.tell({ case: 'resume', value: { token: this.#token } });
  }

  receive(message: PeerMessage): void | Promise<void> {
    if (this.#isOver && message.case !== 'result') return;
    if ('token' in message.value && !this.#token.equals(message.value.token)) return this.#foreign();
    const { events, peer } = this.#options;
    switch (message.case) {
      case 'needBundle':
        // It was sent before the step; a runner that lost it does not get it again and again.
        return this.#foreign();
      case 'started':
        // Once is enough; to read it again and again costs the host.
        if (!this.#clock.start()) return this.#foreign();
        return events.onStarted();
      case 'log':
        if (!events.onLog(message.value))
          this.end({ kind: 'charged', code: 'LIMIT_LOG', detail: 'it logs without end' });
        return;
      case 'progress':
        return events.onProgress(message.value);
      case 'hostCall':
        return this.#answer(keptCall(message.value));
      case 'result':
        if (this.#isStarved({ kind: 'charged', code: message.value.code })) return this.end(STARVED);
        this.#result ??= { kind: 'result', result: message.value };
        this.#told.resolve();
        return this.end(this.#result);
      default:
        peer.fail(`${message.case} is not for a host`);
    }
  }

  /** Asks for the end of the container; the first reason counts. */
  end(reason: ContainerEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#watch);
    if (this.#options.view !== undefined) this.#seeKernel(this.#options.view);
    this.#options.onOver(reason);
  }

  /** The first one it told, also when it came after the reason for which it was ended. */
  get result(): Extract<ContainerEnd, { kind: 'result' }> | undefined {
    return this.#result;
  }

  /** Never settles for one that tells none. */
  get hasResult(): Promise<void> {
    return this.#told.promise;
  }

  /** While its container still is: afterwards Docker has no figures any more. */
  async lastLook(): Promise<void> {
    if (this.#options.view !== undefined) return;
    const answer = await Promise.race([this.#options.use(), sleep(LAST_LOOK_MS, undefined, { ref: false })]);
    if (answer?.ok !== true) return;
    this.#isWhole = answer.value.cpuMs !== undefined;
    this.#take(answer.value.cpuMs, answer.value.peakMemoryBytes);
  }

  /** The container is proven to have ended. */
  settle(end: StepEnd): void {
    this.#clock.end(end);
  }

  /** Of a step that told its end, all or nothing; of one that was ended or died, what was seen of it. */
  get figures(): StepFigures {
    if (this.#result !== undefined && !this.#isWhole) return { cpuMs: null, peakMemoryBytes: null };
    const base = this.#isBaseKnown ? this.#baseCpuMs : undefined;
    const cpuMs = base === undefined || this.#cpuMs === undefined ? null : Math.max(0, this.#cpuMs - base);
    return { cpuMs, peakMemoryBytes: this.#peakMemoryBytes ?? null };
  }

  /** As long as the kernel could be asked. */
  get oomKills(): number {
    return this.#oomKills;
  }

  get wasAtMemoryLimit(): boolean {
    return (this.#peakMemoryBytes ?? 0) >= this.#options.job.limits.memoryMb * MIB * FULL_SHARE;
  }

  #foreign(): void {
    this.#options.peer.countDropped('foreign');
    if (++this.#foreignFrames > MAX_FOREIGN_FRAMES) this.#options.peer.fail('sends frames about nothing of this step');
  }

  async #answer(call: TierHostCall): Promise<void> {
    const answer = await this.#options.events.onHostCall(call);
    this.#line.answer({ token: this.#token, callId: call.callId }, answer);
  }

  #look(): void {
    const { view } = this.#options;
    if (view !== undefined) this.#seeKernel(view);
    else if (!this.#isAsking) void this.#ask();
  }

  #seeKernel(view: KernelView): void {
    this.#isWhole = true;
    this.#oomKills = Math.max(this.#oomKills, view.oomKills());
    this.#take(view.cpuMs(), view.peakMemoryBytes());
  }

  async #ask(): Promise<void> {
    this.#isAsking = true;
    const answer = await this.#options.use();
    this.#isAsking = false;
    if (answer.ok && !this.#isOver) this.#take(answer.value.cpuMs, answer.value.peakMemoryBytes);
  }

  #take(cpuMs: number | undefined, peakMemoryBytes: number | undefined): void {
    this.#peakMemoryBytes = peakMemoryBytes ?? this.#peakMemoryBytes;
    if (cpuMs === undefined) return;
    this.#cpuMs = cpuMs;
    this.#baseCpuMs ??= cpuMs;
    this.#clock.observe(() => this.#now());
    if (this.#isOver || !this.#clock.exceedsCpu(cpuMs)) return;
    const detail = `it took more than ${this.#options.job.limits.cpuMs} ms of CPU`;
    this.end({ kind: 'charged', code: 'LIMIT_CPU', detail });
  }

  #now(): SandboxFigures | undefined {
    const delayMs = this.#options.view?.delayMs() ?? 0;
    return this.#cpuMs === undefined ? undefined : { atMs: performance.now(), cpuMs: this.#cpuMs, delayMs };
  }

  /** A wall limit that was reached for want of a core is not the step's doing. */
  #isStarved(end: { readonly kind: string; readonly code?: string }): boolean {
    const isWall = end.kind === 'charged' && end.code === 'LIMIT_WALL';
    return isWall && this.#options.cpus >= MIN_CPUS_TO_STARVE && this.#clock.isStarved(this.#now());
  }
}
