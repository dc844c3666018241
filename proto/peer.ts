/**
 * One end of the sandbox RPC on a duplex byte stream: Hello, whose turn each message is, flow control, ping, and the
 * end of the connection. Knows attempts only as 16-byte tokens; who they belong to is the business of its owner
 * (sandbox-client.ts, the sandbox host, the worker), which reports what it dropped with `countDropped`.
 *
 * Invariants:
 *   P1. Nothing that the other side sends makes this throw: a broken rule closes the connection, as a PeerEnd value.
 *   P2. `onOpen` comes once and before any `onFrame`; `onClosed` comes once and after everything else.
 *   P3. Memory is bounded both ways, whatever the other side announces: what we take in by the window we grant, what we
 *       hold for it by `maxHeldBytes`. Who leaves its answers unread is not listened to (send-queue.ts), and who takes
 *       nothing for `stallMs` while bytes wait for it is cut off.
 *   P4. Frames leave in the order of `send` and `sendWhenRoom`, except that control frames pass windowed ones that wait.
 *
 * Frames of one tick are written together (outbox.ts), so that a step costs one system call and not one per frame.
 */
import type { Duplex } from 'node:stream';
import { assertNever, messageOf } from './errors.ts';
import { DEFAULT_MAX_FRAME_BYTES, FrameDecoder } from './framing.ts';
import {
  checkHello,
  decodeMessage,
  FROM_CALLER,
  FROM_RUNNER,
  type PeerMessage,
  type PeerMessageInit,
  type PeerRole,
  PROTOCOL_VERSION,
  type RemoteHello,
  WINDOWED,
} from './peer-rules.ts';
import type { Hello, Ping } from './sandbox_pb.js';
import { DEFAULT_MAX_HELD_BYTES, type LaterResult, SendQueue, type SendResult } from './send-queue.ts';

export type { LaterResult, PeerMessage, PeerMessageInit, PeerRole, RemoteHello, SendResult };

/** Rests of the window below a quarter are not told, so half of it always has room for the largest frame. */
export const DEFAULT_WINDOW_BYTES = 2 * DEFAULT_MAX_FRAME_BYTES;
/** As long as the lease of an engine (design 5.4): who reads nothing for that long has lost its attempts anyway. */
export const DEFAULT_STALL_MS = 15_000;
/** A process that starts on a busy machine needs seconds; who stays silent longer is not one of ours. */
const HELLO_TIMEOUT_MS = 10_000;
/** After our end of the stream; then it is destroyed. */
const CLOSE_TIMEOUT_MS = 1_000;
/** Pings without an answer that are remembered; the owner acts long before. */
const MAX_OPEN_PINGS = 64;
const TOKEN_BYTES = 16;
export type PeerEnd =
  /** `close()` was called here. */
  | { readonly kind: 'closed'; readonly message: string }
  /** The other side ended the stream between two frames. */
  | { readonly kind: 'ended'; readonly message: string }
  /** A rule was broken by the other side; the connection was cut. */
  | { readonly kind: 'protocol-error'; readonly code: 'PROTOCOL_ERROR'; readonly message: string }
  /** The stream failed, or a handler of ours threw. */
  | { readonly kind: 'failed'; readonly message: string };

export type DropReason = 'late' | 'foreign' | 'duplicate';

export interface PeerCounters {
  framesIn: number;
  framesOut: number;
  bytesIn: number;
  bytesOut: number;
  /** About an attempt that has ended. */
  late: number;
  /** About an attempt or a call that was never ours. */
  foreign: number;
  /** A second answer to the same thing. */
  duplicate: number;
}

export interface PeerOptions {
  readonly stream: Duplex;
  /** The caller starts attempts, the runner runs them; each may send only its own messages. */
  readonly side: 'caller' | 'runner';
  readonly role: PeerRole;
  readonly instance: string;
  /** Roles that are welcome on the other side. */
  readonly accepts: readonly PeerRole[];
  readonly capabilities?: readonly string[];
  readonly maxAttempts?: number;
  /** Of a host, for its Hello. */
  readonly leaseMs?: number;
  readonly endedInstances?: readonly string[];
  readonly cores?: number;
  readonly maxFrameBytes?: number;
  readonly windowBytes?: number;
  readonly helloTimeoutMs?: number;
  /** What may wait for the other side, all together; at least a frame of the largest size. */
  readonly maxHeldBytes?: number;
  /** A peer for which bytes wait and that takes none of them for this long is cut off. */
  readonly stallMs?: number;
  readonly onOpen?: (remote: RemoteHello) => void;
  /** The other side asks for a Pong and tells its load; false: it gets none. */
  readonly onPing?: (load: number) => boolean;
  /** A promise holds back the Credit of this frame until it settles; everything else is credited at once. */
  readonly onMessage: (message: PeerMessage) => void | Promise<void>;
  readonly onClosed?: (end: PeerEnd) => void;
}

type PeerState =
  | { readonly phase: 'greeting'; readonly timer: NodeJS.Timeout }
  | { readonly phase: 'open'; readonly remote: RemoteHello }
  | { readonly phase: 'closed'; readonly end: PeerEnd };

export class Peer {
  readonly counters: PeerCounters = {
    framesIn: 0,
    framesOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    late: 0,
    foreign: 0,
    duplicate: 0,
  };
  /** Settles when the connection has ended, with why. Never rejects. */
  readonly closed: Promise<PeerEnd>;
  readonly #options: PeerOptions;
  readonly #stream: Duplex;
  readonly #maxFrameBytes: number;
  readonly #windowBytes: number;
  readonly #decoder: FrameDecoder;
  readonly #settleClosed: (end: PeerEnd) => void;
  #state: PeerState;
  readonly #outgoing: SendQueue;
  /** What the other side may still send, and what was handled but not yet credited. */
  #receiveWindowBytes: number;
  #uncreditedBytes = 0;
  #nextPing = 1;
  readonly #pings = new Map<number, () => void>();

  /** Sends Hello at once and waits for the other side's. */
  constructor(options: PeerOptions) {
    this.#options = options;
    this.#stream = options.stream;
    this.#maxFrameBytes = options.maxFrameBytes ?? DEFAULT_MAX_FRAME_BYTES;
    this.#windowBytes = options.windowBytes ?? Math.max(DEFAULT_WINDOW_BYTES, 2 * this.#maxFrameBytes);
    this.#receiveWindowBytes = this.#windowBytes;
    this.#decoder = new FrameDecoder(this.#maxFrameBytes);
    const closed = Promise.withResolvers<PeerEnd>();
    this.closed = closed.promise;
    this.#settleClosed = closed.resolve;
    const helloTimeoutMs = options.helloTimeoutMs ?? HELLO_TIMEOUT_MS;
    const timer = setTimeout(() => this.fail(`no Hello within ${helloTimeoutMs} ms`), helloTimeoutMs);
    this.#state = { phase: 'greeting', timer };
    this.#outgoing = new SendQueue({
      stream: options.stream,
      maxHeldBytes: options.maxHeldBytes ?? DEFAULT_MAX_HELD_BYTES,
      stallMs: options.stallMs ?? DEFAULT_STALL_MS,
      counters: this.counters,
      onProblem: (problem) => this.fail(problem),
      onFailed: (thrown) => this.#cut({ kind: 'failed', message: `a handler failed: ${messageOf(thrown)}` }),
    });
    this.#listen();
    this.#outgoing.greet({
      case: 'hello',
      value: {
        minVersion: PROTOCOL_VERSION,
        maxVersion: PROTOCOL_VERSION,
        role: options.role,
        instance: options.instance,
        capabilities: [...(options.capabilities ?? [])],
        maxFrameBytes: this.#maxFrameBytes,
        windowBytes: this.#windowBytes,
        maxAttempts: options.maxAttempts ?? 0,
        leaseMs: options.leaseMs ?? 0,
        endedInstances: [...(options.endedInstances ?? [])],
        cores: options.cores ?? 0,
      },
    });
  }

  get isOpen(): boolean {
    return this.#state.phase === 'open';
  }

  /** What waits for the other side: for Credit, or for the stream to take it. */
  get heldBytes(): number {
    return this.#outgoing.heldBytes;
  }

  /** Sends one message. Before the other side's Hello and after the end the answer is `closed` and nothing is sent. */
  send(message: PeerMessageInit): SendResult {
    return this.#outgoing.send(message);
  }

  /**
   * Sends a windowed message when its turn has come and there is Credit and room for it: `make` gives it at that time, or
   * nothing, and may be asked again. Until then no byte of it is held here; how many wait is for the caller to bound.
   * `onDone` is called once, at the moment it leaves, or with `closed` when the connection ends first.
   */
  sendWhenRoom(make: () => PeerMessageInit | undefined, onDone?: (result: LaterResult) => void): void {
    this.#outgoing.sendWhenRoom(make, onDone);
  }

  /** Resolves when no windowed frame waits (true) or the connection has ended (false). */
  drained(): Promise<boolean> {
    return this.#outgoing.drained();
  }

  /** Asks for a Pong; `onPong` is called at most once, never after the end. `load`: what a host tells with it. */
  ping(onPong: () => void, load = 0): void {
    if (this.#state.phase !== 'open' || this.#pings.size >= MAX_OPEN_PINGS) return;
    const id = this.#nextPing;
    this.#nextPing = (this.#nextPing + 1) >>> 0 || 1;
    this.#pings.set(id, onPong);
    this.send({ case: 'ping', value: { id, load } });
  }

  /** The owner tells that it dropped a frame, and why. */
  countDropped(reason: DropReason): void {
    this.counters[reason]++;
  }

  /** What was sent before still leaves; then the stream ends. Idempotent. */
  close(message: string): void {
    if (this.#state.phase === 'closed') return;
    this.#outgoing.finish();
    this.#finish({ kind: 'closed', message });
    this.#stream.end();
    const timer = setTimeout(() => this.#stream.destroy(), CLOSE_TIMEOUT_MS);
    this.#stream.once('close', () => clearTimeout(timer));
  }

  /** The other side broke a rule: the connection is cut at once. Idempotent. */
  fail(problem: string): void {
    this.#cut({ kind: 'protocol-error', code: 'PROTOCOL_ERROR', message: problem });
  }

  #listen(): void {
    this.#stream.on('data', (chunk: Uint8Array) => this.#take(chunk));
    this.#stream.on('error', (error: Error) => this.#cut({ kind: 'failed', message: messageOf(error) }));
    this.#stream.on('end', () => {
      const result = this.#decoder.end();
      if (!result.ok) this.fail(result.problem);
      else this.#cut({ kind: 'ended', message: 'the other side ended the connection' });
    });
    this.#stream.on('close', () => this.#cut({ kind: 'failed', message: 'the connection was lost' }));
  }

  #take(chunk: Uint8Array): void {
    if (this.#state.phase === 'closed') return;
    this.counters.bytesIn += chunk.length;
    const result = this.#decoder.push(chunk, (payload) => {
      this.#receive(payload);
      return this.#state.phase !== 'closed';
    });
    if (!result.ok) this.fail(result.problem);
  }

  #receive(payload: Uint8Array) {
    this.counters.framesIn++;
    const message = decodeMessage(payload);
    if (message === undefined) return this.fail('a frame that is no message of this protocol');
    switch (this.#state.phase) {
      case 'closed':
        return;
      case 'greeting':
        if (message.case !== 'hello') return this.fail(`${message.case} before Hello`);
        return this.#greet(message.value, this.#state.timer);
      case 'open':
        return this.#receiveOpen(message, payload.length);
      default:
        assertNever(this.#state);
    }
  }

  #greet(hello: Hello, timer: NodeJS.Timeout) {
    const remote = checkHello(hello, this.#options.accepts);
    if (!remote.ok) return this.fail(remote.problem);
    clearTimeout(timer);
    this.#outgoing.open(hello);
    this.#state = { phase: 'open', remote: remote.remote };
    this.#guard(() => this.#options.onOpen?.(remote.remote));
  }

  #receiveOpen(message: PeerMessage, payloadBytes: number) {
    switch (message.case) {
      case 'hello':
        return this.fail('a second Hello');
      case 'credit':
        return this.#takeCredit(message.value.bytes);
      case 'ping':
        return this.#takePing(message.value);
      case 'pong':
        return this.#takePong(message.value.id);
      default:
        break;
    }
    const isTheirs = this.#options.side === 'caller' ? FROM_RUNNER : FROM_CALLER;
    if (!isTheirs.has(message.case)) return this.fail(`${message.case} from the wrong side`);
    if ('token' in message.value && message.value.token.length !== TOKEN_BYTES) {
      return this.fail(`${message.case} with a token of ${message.value.token.length} bytes`);
    }
    if (!WINDOWED.has(message.case)) {
      this.#guard(() => this.#options.onMessage(message));
      return;
    }
    this.#receiveWindowBytes -= payloadBytes;
    if (this.#receiveWindowBytes < 0) return this.fail('sent more than the window allows');
    const handled = this.#guard(() => this.#options.onMessage(message));
    if (handled instanceof Promise) {
      handled.then(
        () => this.#credit(payloadBytes),
        (thrown: unknown) => this.#cut({ kind: 'failed', message: `a handler failed: ${messageOf(thrown)}` }),
      );
    } else {
      this.#credit(payloadBytes);
    }
  }

  #guard<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (thrown) {
      this.#cut({ kind: 'failed', message: `a handler failed: ${messageOf(thrown)}` });
      return undefined;
    }
  }

  #credit(bytes: number): void {
    this.#uncreditedBytes += bytes;
    if (this.#uncreditedBytes < this.#windowBytes / 4) return;
    this.#receiveWindowBytes += this.#uncreditedBytes;
    this.send({ case: 'credit', value: { bytes: this.#uncreditedBytes } });
    this.#uncreditedBytes = 0;
  }

  #takeCredit(bytes: number) {
    const problem = this.#outgoing.credit(bytes);
    if (problem !== undefined) this.fail(problem);
  }

  #takePing({ id, load }: Ping): void {
    if (this.#guard(() => this.#options.onPing?.(load)) !== false) this.send({ case: 'pong', value: { id } });
  }

  #takePong(id: number) {
    const onPong = this.#pings.get(id);
    if (onPong === undefined) return this.countDropped('foreign');
    this.#pings.delete(id);
    this.#guard(onPong);
  }

  #cut(end: PeerEnd): void {
    if (this.#state.phase === 'closed') return;
    this.#finish(end);
    this.#stream.destroy();
  }

  #finish(end: PeerEnd): void {
    if (this.#state.phase === 'greeting') clearTimeout(this.#state.timer);
    this.#state = { phase: 'closed', end };
    this.#outgoing.drop();
    this.#pings.clear();
    // Reading goes on so that the stream can see its end; what comes is dropped.
    this.#options.onClosed?.(end);
    this.#settleClosed(end);
  }
}
