/**
 * An engine's side of one sandbox host, as the engine's own client keeps it: an attempt whose connection broke stays what
 * it was while the host can come back within its lease (the client attaches again by itself), and is LOST when the lease
 * is over or the host's process is proven to have ended.
 */
import type {
  AttachResult,
  Attempt,
  AttemptListener,
  AttemptOutcome,
  AttemptRequest,
  SandboxHost,
} from '@flowops/proto/attempt.ts';
import type { SimProcess } from '../world/process.ts';
import type { Link } from './link.ts';
import type { CodeWitness } from './plugin-code.ts';
import { type CallerEnd, type HostFront, LEASE_MS } from './simulated-host.ts';

type Attaching = Pick<AttemptRequest, 'token' | 'flowId' | 'runId' | 'epoch'>;

export interface HostTold {
  readonly instance: string;
  readonly maxAttempts: number;
  readonly isShared: boolean;
  readonly witness: CodeWitness;
  /** It takes attempts again. */
  readonly onRoom: () => void;
}

interface Entry {
  readonly target: Attaching;
  readonly listener: AttemptListener;
  readonly settle: (outcome: AttemptOutcome) => void;
  hasEnded: boolean;
  /** The host has ended it by itself by then. */
  lifeEndsMs: number;
  /** Called with the answer to an Attach. */
  onAttached: ((state: AttachResult['state']) => void) | undefined;
}

/** For clocks, and for what is on its way. */
const MARGIN_MS = 1_000;
/** A timer that fires later than this was held back. */
const LATE_MS = 100;
/** For an attempt whose start was not told. */
const UNTOLD_LIFE_MS = 60_000;

export class HostClient implements SandboxHost {
  readonly instance: string;
  readonly maxAttempts: number;
  readonly isShared: boolean;
  readonly #process: SimProcess;
  readonly #entries = new Map<string, Entry>();
  readonly #closed = Promise.withResolvers<{ readonly reason: string }>();
  #connection: { readonly link: Link; readonly front: HostFront } | undefined;
  /** When the last question of the host was answered. */
  #vouchedMs: number;
  #openCount = 0;
  readonly #onRoom: () => void;
  readonly #witness: CodeWitness;

  constructor(process: SimProcess, told: HostTold) {
    this.#process = process;
    this.#vouchedMs = process.world.nowMs;
    this.instance = told.instance;
    this.maxAttempts = told.maxAttempts;
    this.isShared = told.isShared;
    this.#onRoom = told.onRoom;
    this.#witness = told.witness;
  }

  get closed(): Promise<{ readonly reason: string }> {
    return this.#closed.promise;
  }

  get isConnected(): boolean {
    return this.#connection !== undefined;
  }

  get hasRoom(): boolean {
    return this.#openCount < this.maxAttempts;
  }

  /** Attempts that have not ended. */
  get openCount(): number {
    return this.#openCount;
  }

  /** A connection to the same host: what was under way is attached to again. */
  connected(link: Link, front: HostFront): void {
    this.#connection = { link, front };
    this.#vouchedMs = this.#process.world.nowMs;
    for (const [token, entry] of this.#entries) {
      if (entry.hasEnded) continue;
      entry.onAttached = (state) => {
        if (state === 'unknown' || state === 'refused')
          this.#lose(token, `the host does not have it: ${state}`, 0, false);
      };
      this.#sendAttach(entry.target);
    }
  }

  /** @param couldReturnMs how long the host has to come back before its attempts count as lost */
  disconnected(why: string): void {
    this.#connection = undefined;
    for (const entry of this.#entries.values()) {
      entry.onAttached?.('lost');
      entry.onAttached = undefined;
    }
    this.#giveUpAt(this.#vouchedMs + LEASE_MS + MARGIN_MS, why);
  }

  /** A process that was stopped meanwhile first finds out whether the host can be reached again. */
  #giveUpAt(dueMs: number, why: string): void {
    this.#process.after(dueMs - this.#process.world.nowMs, () => {
      const { nowMs } = this.#process.world;
      if (this.#connection !== undefined || nowMs < this.#vouchedMs + LEASE_MS + MARGIN_MS) return;
      if (nowMs > dueMs + LATE_MS) {
        this.#giveUpAt(nowMs + MARGIN_MS, why);
        return;
      }
      for (const [token, entry] of this.#entries) {
        const aliveForMs = Math.max(0, entry.lifeEndsMs - this.#process.world.nowMs);
        this.#lose(token, `not reached for longer than its lease: ${why}`, aliveForMs, false);
      }
    });
  }

  /** Its process is proven to have ended. */
  hostEnded(): void {
    this.#connection = undefined;
    this.#closed.resolve({ reason: 'the sandbox host ended' });
    for (const token of [...this.#entries.keys()]) this.#lose(token, 'the sandbox host ended', 0, true);
  }

  /** What the host tells; given to the host with the connection. */
  callerEnd(vouches: () => boolean): Omit<CallerEnd, 'hello'> {
    return {
      started: (token, wallMs) => {
        const entry = this.#entries.get(token);
        if (entry === undefined) return;
        entry.lifeEndsMs = Math.min(entry.lifeEndsMs, this.#process.world.nowMs + wallMs);
        entry.listener.onStarted?.();
      },
      result: (token, outcome) => this.#settle(token, outcome),
      attachReply: (token, state) => {
        const entry = this.#entries.get(token);
        const { onAttached } = entry ?? {};
        if (entry !== undefined) entry.onAttached = undefined;
        onAttached?.(state);
      },
      ping: (_load, answer) => {
        if (!vouches()) return;
        this.#vouchedMs = this.#process.world.nowMs;
        answer();
      },
    };
  }

  run(request: AttemptRequest, listener: AttemptListener): Attempt {
    const { attempt } = this.#makeEntry(request, listener);
    this.#witness.asked(`${request.flowId}:${request.runId}`, request.stepId, request.token);
    const connection = this.#connection;
    if (connection === undefined) this.#lose(request.token, 'the sandbox host is not connected', 0, false);
    else connection.link.send(0, () => connection.front.invoke(request));
    return attempt;
  }

  async attach(target: Attaching, listener: AttemptListener): Promise<AttachResult> {
    if (this.#entries.has(target.token)) {
      throw new Error(`run ${target.runId} attaches to an attempt of this connection`);
    }
    if (this.#connection === undefined) return { state: 'lost' };
    const { entry, attempt } = this.#makeEntry(target, listener);
    return new Promise((resolve) => {
      entry.onAttached = (state) => {
        if (state === 'running' || state === 'ended') return resolve({ state, attempt });
        this.#entries.delete(target.token);
        this.#end(entry);
        resolve({ state });
      };
      this.#sendAttach(target);
    });
  }

  async close(): Promise<void> {
    this.#connection?.link.close(0, 'closed by its engine');
    this.#connection = undefined;
    this.#closed.resolve({ reason: 'closed' });
  }

  #sendAttach(target: Attaching): void {
    const connection = this.#connection;
    connection?.link.send(0, () => connection.front.attach(target.token, target, target.epoch));
  }

  #makeEntry(target: Attaching, listener: AttemptListener): { entry: Entry; attempt: Attempt } {
    const { token, epoch } = target;
    const outcome = Promise.withResolvers<AttemptOutcome>();
    const entry: Entry = {
      target,
      listener,
      settle: outcome.resolve,
      hasEnded: false,
      lifeEndsMs: this.#process.world.nowMs + UNTOLD_LIFE_MS,
      onAttached: undefined,
    };
    this.#entries.set(token, entry);
    this.#openCount++;
    const say = (frame: (front: HostFront) => void) => {
      const connection = this.#connection;
      connection?.link.send(0, () => frame(connection.front));
    };
    const attempt: Attempt = {
      outcome: outcome.promise,
      cancel: ({ graceMs }) => {
        if (!entry.hasEnded) say((front) => front.cancel(token, epoch, graceMs));
      },
      pause: () => undefined,
      resume: () => undefined,
      acknowledge: () => {
        if (entry.hasEnded && this.#entries.get(token) === entry) {
          this.#entries.delete(token);
          say((front) => front.acknowledge(token));
        }
      },
      leave: () => {
        if (this.#entries.get(token) !== entry) return;
        this.#entries.delete(token);
        if (!entry.hasEnded) say((front) => front.leave(token));
        this.#end(entry);
      },
    };
    return { entry, attempt };
  }

  #settle(token: string, outcome: AttemptOutcome): void {
    const entry = this.#entries.get(token);
    if (entry === undefined || entry.hasEnded) return;
    this.#end(entry);
    entry.settle(outcome);
  }

  #end(entry: Entry): void {
    if (entry.hasEnded) return;
    entry.hasEnded = true;
    if (this.#openCount-- === this.maxAttempts) this.#onRoom();
  }

  #lose(token: string, message: string, aliveForMs: number, hostEnded: boolean): void {
    const target = this.#entries.get(token)?.target;
    if (hostEnded && target !== undefined) this.#witness.hostLost(`${target.flowId}:${target.runId}`, token);
    this.#settle(token, { status: 'LOST', message, aliveForMs, hostEnded });
    this.#entries.delete(token);
  }
}
