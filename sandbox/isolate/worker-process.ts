/**
 * One isolate worker: its body (worker-body.ts), its connection, the jobs in it, and the decision to end it. Picks no jobs (that is
 * the pool) and does not turn ends into outcomes (that is the tier).
 *
 * Invariants:
 *   K1. Every job that was given to it ends exactly once, after no code of it runs any more.
 *   K2. When it is ended for one job's sake, the others are innocent; when it dies and more than one job was in it
 *       (or had been a moment before), each is a suspect; when only one was, that one is charged.
 *   K3. What it says is believed only about its own jobs: a Result the worker sent before it died counts first.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Peer, type PeerMessage } from '@flowops/proto/peer.ts';
import type { PeerMessageInit } from '@flowops/proto/peer-rules.ts';
import type { HostCall } from '@flowops/proto/sandbox_pb.js';
import type { Logger } from 'pino';
import type { StoredBundle } from '../bundles/bundle-store.ts';
import { LiveStep } from '../steps/live-step.ts';
import { bundlePieces, invokeMessage } from '../steps/sandbox-messages.ts';
import { STARVED, type StepEvents, type StepHandle } from '../steps/step-end.ts';
import { keptCall, putBundle, StepLine } from '../steps/step-line.ts';
import type { TierHostCall } from '../tier.ts';
import { CodeCacheGate } from './code-cache-gate.ts';
import type { CodeCaches } from './code-caches.ts';
import { type EndCause, endOfJob } from './worker-blame.ts';
import type { Confinement, WorkerBody } from './worker-body.ts';
import type { IsolateWorker, WorkerEvents, WorkerJob } from './worker-job.ts';
import { WorkerWatch } from './worker-watch.ts';

/** node, isolated-vm and the prepared isolates of a worker with no step in it, with room for compiling. */
export const WORKER_BASE_BYTES = 192 * 1024 * 1024;
/** An isolate at its heap limit takes about half as much again outside the heap. */
const MEMORY_FACTOR = 1.5;
/** isolated-vm keeps a little of every isolate; a fresh process costs 100 ms, so this is 0.05 ms a step. */
const MAX_STEPS = 2_000;
/** Idle, it should be near its base; more means that something was kept. */
const RECYCLE_BYTES = 400 * 1024 * 1024;
const RECYCLE_CHECK_STEPS = 100;
/** What a worker wrote before it died has arrived by then. */
const DRAIN_MS = 1_000;
/** A job that ended so shortly before a death may have been its cause. */
const RECENTLY_MS = 250;
/** A hundred milliseconds, but on a machine full of burners a worker starts slowly too. */
const START_TIMEOUT_MS = 30_000;

type WorkerState =
  | { readonly phase: 'starting' }
  | { readonly phase: 'ready' }
  | {
      readonly phase: 'ending';
      readonly cause: EndCause<LiveStep>;
      readonly wasReady: boolean;
      readonly wasAlone: boolean;
    }
  | { readonly phase: 'ended' };

export interface WorkerProcessOptions {
  readonly id: number;
  readonly body: WorkerBody;
  readonly instance: string;
  readonly codeCaches: CodeCaches;
  readonly events: WorkerEvents;
  readonly log: Logger;
}

export class WorkerProcess implements IsolateWorker {
  readonly id: number;
  readonly #options: WorkerProcessOptions;
  readonly #body: WorkerBody;
  readonly #peer: Peer;
  readonly #watch: WorkerWatch;
  readonly #attempts = new Map<string, LiveStep>();
  readonly #lines = new WeakMap<LiveStep, StepLine>();
  /** Bundles that were sent; the bytes are held only by the attempts that use them. */
  readonly #sent = new Set<string>();
  /** Bundles whose pieces have not all left. */
  readonly #onTheirWay = new Set<string>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #gate: CodeCacheGate;
  #domain = '';
  #state: WorkerState = { phase: 'starting' };
  #isLate = false;
  #steps = 0;
  #hasGrown = false;
  #isOld = false;
  #limitBytes = WORKER_BASE_BYTES;
  /** When a job last left; what it left behind may still kill the worker. */
  #lastLeftAt = Number.NEGATIVE_INFINITY;

  constructor(options: WorkerProcessOptions) {
    this.id = options.id;
    this.#options = options;
    this.#gate = new CodeCacheGate(options.codeCaches);
    this.#body = options.body;
    this.#watch = new WorkerWatch({
      worker: {
        cpuMs: () => this.#body.cpuMs(),
        residentBytes: () => this.#body.memoryBytes(),
        delayMs: () => this.#body.delayMs(),
        hasChildren: () => this.#body.hasChildren(),
        ping: (onPong) => this.#peer.ping(onPong),
      },
      pollsMemory: options.body.pollsMemory,
      events: {
        onLate: () => {
          this.#isLate = true;
        },
        onBack: () => {
          this.#isLate = false;
          if (this.takesSteps) options.events.onAvailable();
        },
        onDead: () => this.#end({ kind: 'breach', code: 'SANDBOX_CRASHED', detail: 'its sandbox stopped answering' }),
        onCpu: (cpuMs) => this.#checkCpu(cpuMs),
        onResident: (bytes) => this.#checkMemory(bytes),
        onChildren: () => this.#end({ kind: 'breach', code: 'SANDBOX_CRASHED', detail: 'its sandbox made a process' }),
        onRestless: (cpuMs) => this.#end({ kind: 'died', detail: `it took ${Math.round(cpuMs)} ms of CPU at rest` }),
      },
    });
    this.#peer = new Peer({
      stream: this.#body.stream,
      side: 'caller',
      role: 'host',
      instance: options.instance,
      accepts: ['isolate-worker'],
      helloTimeoutMs: START_TIMEOUT_MS,
      onOpen: ({ capabilities }) => void this.#open(capabilities),
      onMessage: (message) => this.#receive(message),
      onClosed: (end) => this.#end({ kind: 'died', detail: end.message }),
    });
    void this.#settleWhenGone();
    void this.#body.aged.then(() => this.#retire());
  }

  get confinement(): Confinement {
    return this.#body.confinement;
  }

  get jobs(): number {
    return this.#attempts.size;
  }

  get takesSteps(): boolean {
    return this.#state.phase === 'ready' && !this.#isLate && !this.isSpent;
  }

  get isSpent(): boolean {
    return this.#steps >= MAX_STEPS || this.#hasGrown || this.#isOld;
  }

  run(job: WorkerJob, events: StepEvents): StepHandle {
    const token = randomBytes(16);
    const others = [...this.#attempts.values()];
    const attempt: LiveStep = new LiveStep({
      token,
      job,
      events,
      measure: others.length === 0 ? this.#body.measure() : undefined,
      othersCpuMs: others.reduce((sum, other) => sum + other.job.limits.cpuMs, 0),
      onOverdue: (end) => {
        const isStarved = end.kind === 'charged' && this.#isStarved(attempt, end.code);
        this.#end({ kind: 'job', attempt, end: isStarved ? STARVED : end });
      },
    });
    for (const other of others) other.share(job.limits.cpuMs);
    this.#attempts.set(token.toString('hex'), attempt);
    this.#steps++;
    this.#makeRoom();
    this.#watch.busy();
    this.#domain = job.domain;
    if (!this.#sent.has(job.bundle.digest)) this.#putBundle(job.bundle);
    const line = new StepLine(this.#peer, () => attempt.isLive);
    this.#lines.set(attempt, line);
    this.#gate.pass(() => this.#invoke(line, token, job));
    const tell = (message: PeerMessageInit) => this.#gate.pass(() => line.tell(message));
    return {
      cancel: ({ graceMs, reason }) => {
        if (attempt.cancel(graceMs)) tell({ case: 'cancel', value: { token, graceMs, reason } });
      },
      pause: () => {
        if (attempt.isLive) tell({ case: 'pause', value: { token } });
      },
      resume: () => {
        if (attempt.isLive) tell({ case: 'resume', value: { token } });
      },
    };
  }

  close(): Promise<void> {
    this.#end({ kind: 'closed' });
    return this.#ended.promise;
  }

  async #open(capabilities: readonly string[]): Promise<void> {
    this.#gate.v8 = capabilities.find((capability) => capability.startsWith('v8 '));
    const problem = await this.#body.confirm();
    if (this.#state.phase !== 'starting') return;
    if (problem !== undefined) return this.#end({ kind: 'died', detail: problem });
    this.#state = { phase: 'ready' };
    this.#options.events.onAvailable();
  }

  #receive(message: PeerMessage) {
    switch (message.case) {
      case 'needBundle': {
        const bundle = this.#bundleInUse(message.value.digest);
        if (bundle === undefined) return this.#peer.countDropped('foreign');
        if (this.#onTheirWay.has(bundle.digest)) return this.#peer.countDropped('duplicate');
        return this.#putBundle(bundle);
      }
      case 'codeCache': {
        const taken = this.#gate.take(message.value);
        if (taken === 'foreign') return this.#peer.fail('a code cache that was not asked for');
        if (taken === 'late') this.#peer.countDropped('late');
        return;
      }
      case 'started':
        if (this.#find(message.value.token)?.start()) this.#find(message.value.token)?.events.onStarted();
        return;
      case 'log': {
        const attempt = this.#find(message.value.token);
        if (attempt === undefined || attempt.events.onLog(message.value)) return;
        const end = { kind: 'charged', code: 'LIMIT_LOG', detail: 'it logs without end' } as const;
        return this.#end({ kind: 'job', attempt, end });
      }
      case 'progress':
        return this.#find(message.value.token)?.events.onProgress(message.value);
      case 'hostCall':
        return this.#call(message.value);
      case 'result': {
        const attempt = this.#find(message.value.token);
        if (attempt === undefined) return;
        // No ResultAck: a worker keeps nothing, and each frame is one more time that it is woken.
        this.#attempts.delete(hexOf(attempt.token));
        if (this.#isStarved(attempt, message.value.code)) attempt.end(STARVED);
        else attempt.end({ kind: 'result', result: message.value });
        return this.#release();
      }
      default:
        return this.#peer.fail(`${message.case} is not for a host`);
    }
  }

  #find(token: Uint8Array): LiveStep | undefined {
    const attempt = this.#attempts.get(hexOf(token));
    if (attempt === undefined) this.#peer.countDropped('late');
    return attempt;
  }

  #call(message: HostCall) {
    const attempt = this.#find(message.token);
    if (attempt === undefined) return;
    const call = keptCall(message);
    // A call that is given up was counted when it was made; who gives up more than that is counted by the host calls.
    if (call.method !== 'abort' && !attempt.countHostCall()) {
      const detail = `its sandbox passed on more than ${attempt.job.limits.hostCalls} host calls`;
      return this.#end({ kind: 'job', attempt, end: { kind: 'charged', code: 'LIMIT_HOST_CALLS', detail } });
    }
    void this.#answer(attempt, call);
  }

  async #answer(attempt: LiveStep, call: TierHostCall): Promise<void> {
    const answer = await attempt.events.onHostCall(call);
    this.#lines.get(attempt)?.answer({ token: attempt.token, callId: call.callId }, answer);
  }

  #invoke(line: StepLine, token: Uint8Array, job: WorkerJob): void {
    const value = {
      ...invokeMessage(token, job),
      policyHash: job.policyHash,
      freshContext: job.freshness === 'context',
      debug: job.debug ?? false,
    };
    // Inputs that an engine could send here fit a worker's frame too; a closed connection ends the job by itself.
    line.invoke(value, () => this.#end({ kind: 'breach', code: 'INPUT_INVALID', detail: 'its inputs are too large' }));
  }

  #bundleInUse(digest: string): StoredBundle | undefined {
    for (const { job } of this.#attempts.values()) if (job.bundle.digest === digest) return job.bundle;
    return undefined;
  }

  #putBundle(bundle: StoredBundle): void {
    const { digest } = bundle;
    this.#sent.add(digest);
    this.#onTheirWay.add(digest);
    const offer = this.#gate.offer(this.#domain, bundle);
    const pieces = [...bundlePieces(bundle)].map((piece) => (piece.offset === 0n ? { ...piece, ...offer } : piece));
    putBundle(this.#peer, pieces, () => this.#onTheirWay.delete(digest));
  }

  /** The worker's whole memory: its base and what its steps may take. Only ever raised; a recycled worker is new. */
  #makeRoom(): void {
    let needed = WORKER_BASE_BYTES;
    for (const { job } of this.#attempts.values()) needed += job.limits.memoryMb * MEMORY_FACTOR * 1024 * 1024;
    if (needed <= this.#limitBytes) return;
    this.#limitBytes = needed;
    this.#body.makeRoom(needed);
  }

  #checkCpu(cpuMs: number) {
    for (const attempt of this.#attempts.values()) {
      attempt.observe(() => this.#body.figures());
      if (!attempt.exceedsCpu(cpuMs)) continue;
      const detail = `its sandbox took more than ${attempt.job.limits.cpuMs} ms of CPU`;
      return this.#end({ kind: 'breach', code: 'LIMIT_CPU', detail });
    }
  }

  /** A wall limit that was reached for want of a core is not the step's doing. */
  #isStarved(attempt: LiveStep, code: string): boolean {
    return code === 'LIMIT_WALL' && attempt.isStarved(this.#body.figures());
  }

  #checkMemory(bytes: number): void {
    if (bytes <= this.#limitBytes) return;
    const megabytes = Math.round(bytes / 1024 / 1024);
    this.#end({ kind: 'breach', code: 'LIMIT_MEMORY', detail: `its sandbox took ${megabytes} MB of memory` });
  }

  /** A job left. */
  #release(): void {
    this.#lastLeftAt = performance.now();
    if (this.#attempts.size === 0) {
      this.#watch.idle();
      if (this.#steps % RECYCLE_CHECK_STEPS === 0) this.#hasGrown = (this.#body.memoryBytes() ?? 0) > RECYCLE_BYTES;
    }
    if (this.#state.phase === 'ready') this.#options.events.onRelease();
  }

  /** Its body is to be replaced: it takes no further step, and goes when it is idle. */
  #retire(): void {
    this.#isOld = true;
    if (this.#state.phase === 'ready') this.#options.events.onRelease();
  }

  #end(cause: EndCause<LiveStep>): void {
    if (this.#state.phase === 'ending' || this.#state.phase === 'ended') return;
    const isAlone = this.#attempts.size === 1 && performance.now() - this.#lastLeftAt > RECENTLY_MS;
    this.#state = { phase: 'ending', cause, wasReady: this.#state.phase === 'ready', wasAlone: isAlone };
    this.#watch.stop();
    this.#gate.close();
    // The stream stays open: what the worker wrote before it died still counts.
    this.#body.kill();
  }

  async #settleWhenGone(): Promise<void> {
    await this.#body.gone;
    await Promise.race([this.#peer.closed, sleep(DRAIN_MS, undefined, { ref: false })]);
    this.#end({ kind: 'died', detail: 'its sandbox ended' });
    const state = this.#state;
    if (state.phase !== 'ending') return;
    this.#peer.close('the worker has ended');
    // What the host ended is not looked at: its reason is known.
    const autopsy = state.cause.kind === 'died' ? await this.#body.examine() : { isOom: false, fault: undefined };
    this.#state = { phase: 'ended' };
    const startProblem = state.wasReady || state.cause.kind === 'closed' ? undefined : this.#startProblem(state.cause);
    const { lastWords } = this.#body;
    const facts = { worker: this.id, cause: state.cause.kind, ...autopsy, lastWords };
    this.#options.log.debug(facts, 'isolate worker ended');
    // Before the removal: what they used is read from what is removed.
    for (const attempt of this.#attempts.values()) attempt.end(endOfJob(attempt, { ...state, ...autopsy }));
    this.#attempts.clear();
    await this.#body.remove();
    this.#options.events.onEnded({ startProblem });
    this.#ended.resolve();
  }

  #startProblem(cause: EndCause<LiveStep>): string {
    return this.#body.lastWords || ('detail' in cause ? cause.detail : 'it did not start');
  }
}

function hexOf(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.length).toString('hex');
}
