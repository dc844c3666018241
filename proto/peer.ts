/**
 * One end of the sandbox RPC on a duplex byte stream: Hello, whose turn each message is, flow control, ping, and the
 * end of the connection. Knows attempts only as 16-byte tokens; who they belong to is the business of its owner
 * (sandbox-client.ts, the sandbox host, the worker), which reports what it dropped with `countDropped`.
 *
 * Invariants:
 *   P1. Nothing that the other side sends makes this throw: a broken rule closes the connection, as a PeerEnd value.
 *   P2. `onOpen` comes once and before any `onFrame`; `onClosed` comes once and after everything else.
 *   P3. Memory is bounded both ways: what we take in by the window we grant, what we hold for a peer that does not
 *       read by its window, MAX_QUEUED_BYTES and CONTROL_SLACK_BYTES. Beyond them the connection is closed.
 *   P4. Frames leave in the order of `send`, except that control frames pass windowed ones that wait for Credit.
 *
 * Frames of one tick are written together (cork), so that a step costs one system call and not one per frame.
 */
import type { Duplex } from 'node:stream';
import { assertNever, messageOf } from './errors.ts';
import { DEFAULT_MAX_FRAME_BYTES, encodeFrame, FrameDecoder } from './framing.ts';
import {
  checkHello,
  decodeMessage,
  encodeMessage,
  FROM_CALLER,
  FROM_RUNNER,
  type PeerMessage,
  type PeerMessageInit,
  type PeerRole,
  PROTOCOL_VERSION,
  type RemoteHello,
  WINDOWED,
} from './peer-rules.ts';
import type { Hello } from './sandbox_pb.js';

export type { PeerMessage, PeerMessageInit, PeerRole, RemoteHello };

/** Rests of the window below a quarter are not told, so half of it always has room for the largest frame. */
export const DEFAULT_WINDOW_BYTES = 2 * DEFAULT_MAX_FRAME_BYTES;
/** Windowed frames that wait for Credit: four bundles of the largest size. Who sends more waits for `drained()`. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;
/** Control frames that a peer may leave unread: tens of thousands of them. */
const CONTROL_SLACK_BYTES = 4 * 1024 * 1024;
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
  readonly maxFrameBytes?: number;
  readonly windowBytes?: number;
  readonly helloTimeoutMs?: number;
  readonly onOpen?: (remote: RemoteHello) => void;
  /** A promise holds back the Credit of this frame until it settles; everything else is credited at once. */
  readonly onMessage: (message: PeerMessage) => void | Promise<void>;
  readonly onClosed?: (end: PeerEnd) => void;
}

export type SendResult = 'sent' | 'queued' | 'closed' | 'too-large';

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
  #isCorked = false;
  /** What we may still send of windowed frames, and what waits for more. */
  #sendWindowBytes = 0;
  #remoteWindowBytes = 0;
  readonly #queue: Uint8Array[] = [];
  #queueHead = 0;
  #queuedBytes = 0;
  #drainWaiters: ((isOpen: boolean) => void)[] = [];
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
    this.#listen();
    this.#write(
      encodeMessage({
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
        },
      }),
    );
  }

  get isOpen(): boolean {
    return this.#state.phase === 'open';
  }

  /** Sends one message. Before the other side's Hello and after the end the answer is `closed` and nothing is sent. */
  send(message: PeerMessageInit): SendResult {
    const state = this.#state;
    if (state.phase !== 'open') return 'closed';
    const payload = encodeMessage(message);
    if (payload.length > state.remote.maxFrameBytes) return 'too-large';
    if (!WINDOWED.has(message.case)) {
      this.#write(payload);
      return 'sent';
    }
    if (this.#queuedBytes === 0 && this.#sendWindowBytes >= payload.length) {
      this.#sendWindowBytes -= payload.length;
      this.#write(payload);
      return 'sent';
    }
    this.#queue.push(payload);
    this.#queuedBytes += payload.length;
    if (this.#queuedBytes > MAX_QUEUED_BYTES) {
      this.fail(`does not read: ${this.#queuedBytes} bytes wait for it`);
      return 'closed';
    }
    return 'queued';
  }

  /** Resolves when no windowed frame waits for Credit (true) or the connection has ended (false). */
  drained(): Promise<boolean> {
    if (this.#state.phase === 'closed') return Promise.resolve(false);
    if (this.#queuedBytes === 0 && !this.#stream.writableNeedDrain) return Promise.resolve(true);
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  /** Asks for a Pong; `onPong` is called at most once, never after the end. */
  ping(onPong: () => void): void {
    if (this.#state.phase !== 'open' || this.#pings.size >= MAX_OPEN_PINGS) return;
    const id = this.#nextPing;
    this.#nextPing = (this.#nextPing + 1) >>> 0 || 1;
    this.#pings.set(id, onPong);
    this.send({ case: 'ping', value: { id } });
  }

  /** The owner tells that it dropped a frame, and why. */
  countDropped(reason: DropReason): void {
    this.counters[reason]++;
  }

  /** What was sent before still leaves; then the stream ends. Idempotent. */
  close(message: string): void {
    if (this.#state.phase === 'closed') return;
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
    this.#stream.on('drain', () => this.#wakeDrained());
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
    this.#remoteWindowBytes = hello.windowBytes;
    this.#sendWindowBytes = hello.windowBytes;
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
        this.send({ case: 'pong', value: { id: message.value.id } });
        return;
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
    this.#sendWindowBytes += bytes;
    if (this.#sendWindowBytes > this.#remoteWindowBytes) return this.fail('gave back more Credit than was used');
    for (;;) {
      const next = this.#queue[this.#queueHead];
      if (next === undefined || next.length > this.#sendWindowBytes) break;
      this.#queueHead++;
      this.#queuedBytes -= next.length;
      this.#sendWindowBytes -= next.length;
      this.#write(next);
    }
    this.#queue.splice(0, this.#queueHead);
    this.#queueHead = 0;
    this.#wakeDrained();
  }

  #takePong(id: number) {
    const onPong = this.#pings.get(id);
    if (onPong === undefined) return this.countDropped('foreign');
    this.#pings.delete(id);
    this.#guard(onPong);
  }

  #wakeDrained(): void {
    if (this.#queuedBytes > 0 || this.#stream.writableNeedDrain) return;
    for (const wake of this.#drainWaiters.splice(0)) wake(true);
  }

  #write(payload: Uint8Array): void {
    this.counters.framesOut++;
    this.counters.bytesOut += payload.length;
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#stream.cork();
      process.nextTick(() => {
        this.#isCorked = false;
        this.#stream.uncork();
      });
    }
    this.#stream.write(encodeFrame(payload));
    // A stream counts what it hands to the kernel in one piece until the last byte of it has gone; meanwhile the other
    // side may have read nearly all of it and granted as much again.
    if (this.#stream.writableLength > 2 * this.#remoteWindowBytes + CONTROL_SLACK_BYTES) {
      this.fail(`does not read: ${this.#stream.writableLength} bytes wait for it`);
    }
  }

  #cut(end: PeerEnd): void {
    if (this.#state.phase === 'closed') return;
    this.#finish(end);
    this.#stream.destroy();
  }

  #finish(end: PeerEnd): void {
    if (this.#state.phase === 'greeting') clearTimeout(this.#state.timer);
    this.#state = { phase: 'closed', end };
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#pings.clear();
    for (const wake of this.#drainWaiters.splice(0)) wake(false);
    // Reading goes on so that the stream can see its end; what comes is dropped.
    this.#options.onClosed?.(end);
    this.#settleClosed(end);
  }
}
