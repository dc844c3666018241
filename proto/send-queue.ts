/**
 * What a peer sends, from message to stream: the window that the other side granted, frames that wait for Credit or for
 * room, and the bound on all of it together. The bytes on their way are in outbox.ts; whose turn a message is, is the
 * business of peer.ts.
 *
 * Invariants:
 *   Q1. Never more than `maxHeldBytes` waits here, whatever window the other side announces; beyond it `onProblem`.
 *   Q2. Frames leave in the order in which they came, except that control frames pass windowed ones that wait.
 *   Q3. While MAX_UNREAD_CONTROL_BYTES of control frames wait, the stream is not read from: they are answers, and who
 *       leaves them unread is not given more. Windowed frames never stop the reading, so that two sides that are both
 *       full of them go on.
 */
import type { Duplex } from 'node:stream';
import { DEFAULT_MAX_FRAME_BYTES } from './framing.ts';
import { Outbox } from './outbox.ts';
import { encodeMessage, type PeerMessageInit, WINDOWED } from './peer-rules.ts';

/**
 * One frame of the largest size, and small ones beside it. Who has more to send, or larger frames, uses `sendWhenRoom`,
 * which holds no bytes.
 */
export const DEFAULT_MAX_HELD_BYTES = DEFAULT_MAX_FRAME_BYTES + 8 * 1024 * 1024;
/** Of it, bytes that are on their way into the stream; while there are more, windowed frames wait before it. */
const OUTBOX_BYTES = 4 * 1024 * 1024;
/** What a frame that waits as an object of its own costs beside its bytes (measured with Node 24). */
const WAITING_FRAME_BYTES = 512;
/** Tens of thousands of control frames; a peer that reads never leaves as many. At half of it, it is heard again. */
const MAX_UNREAD_CONTROL_BYTES = 1024 * 1024;

export type SendResult = 'sent' | 'queued' | 'closed' | 'too-large';
/** How a message of `sendWhenRoom` went. */
export type LaterResult = 'sent' | 'nothing' | 'too-large' | 'closed';

/** A windowed frame that waits: its bytes, or what will make them when its turn has come. */
type Waiting =
  | { readonly kind: 'bytes'; readonly payload: Uint8Array }
  | { readonly kind: 'later'; readonly make: Make; readonly onDone: ((result: LaterResult) => void) | undefined };
type Make = () => PeerMessageInit | undefined;

export interface SendQueueOptions {
  readonly stream: Duplex;
  readonly maxHeldBytes: number;
  readonly stallMs: number;
  /** Counted when they leave. */
  readonly counters: { framesOut: number; bytesOut: number };
  /** The other side does not read. What comes after the first is not meant any more. */
  readonly onProblem: (problem: string) => void;
  /** A callback of the owner threw. */
  readonly onFailed: (thrown: unknown) => void;
}

export class SendQueue {
  readonly #options: SendQueueOptions;
  readonly #outbox: Outbox;
  #phase: 'greeting' | 'open' | 'closed' = 'greeting';
  #maxPayloadBytes = 0;
  /** What we may still send of windowed frames. */
  #windowBytes = 0;
  #grantedBytes = 0;
  #waiting: Waiting[] = [];
  #head = 0;
  #waitingBytes = 0;
  #isPumping = false;
  /** The first that waits has not enough Credit; nothing changes that but more of it. */
  #lacksCredit = false;
  #isDeaf = false;
  #drainWaiters: ((isOpen: boolean) => void)[] = [];

  constructor(options: SendQueueOptions) {
    this.#options = options;
    const { stream, stallMs } = options;
    this.#outbox = new Outbox({
      stream,
      stallMs,
      onTaken: () => this.#onTaken(),
      onStalled: () =>
        options.onProblem(`does not read: ${this.heldBytes} bytes wait for it and it took none in ${stallMs} ms`),
    });
  }

  /** What waits for the other side. */
  get heldBytes(): number {
    return this.#waitingBytes + this.#outbox.heldBytes;
  }

  /** The one message that leaves before `open`. */
  greet(hello: PeerMessageInit): void {
    this.#hand(encodeMessage(hello), true);
  }

  /** The other side has said what it reads. */
  open({ maxFrameBytes, windowBytes }: { maxFrameBytes: number; windowBytes: number }): void {
    if (this.#phase !== 'greeting') return;
    this.#phase = 'open';
    // The largest frame is ours too, whatever the other side would read.
    this.#maxPayloadBytes = Math.min(maxFrameBytes, DEFAULT_MAX_FRAME_BYTES);
    this.#windowBytes = this.#grantedBytes = windowBytes;
  }

  /** `queued`: waits for Credit or for room. */
  send(message: PeerMessageInit): SendResult {
    if (this.#phase !== 'open') return 'closed';
    const payload = encodeMessage(message);
    if (payload.length > this.#maxPayloadBytes) return 'too-large';
    if (!WINDOWED.has(message.case)) {
      this.#hand(payload, true);
      if (this.#outbox.controlBytes > MAX_UNREAD_CONTROL_BYTES) this.#listen(false);
      return this.#isWithinBound() ? 'sent' : 'closed';
    }
    if (this.#waiting.length === 0 && this.#hasRoom && payload.length <= this.#windowBytes) {
      this.#handWindowed(payload);
      return this.#isWithinBound() ? 'sent' : 'closed';
    }
    this.#waiting.push({ kind: 'bytes', payload });
    this.#waitingBytes += payload.length + WAITING_FRAME_BYTES;
    return this.#isWithinBound() ? 'queued' : 'closed';
  }

  /**
   * Sends a windowed message when its turn has come and there is Credit and room for it. `make` gives it at that time, or
   * nothing; it changes nothing by itself, since it is asked again where Credit did not suffice. Until then no byte of it
   * is held here; how many wait is for the caller to bound. `onDone` is called once, at the moment it leaves.
   */
  sendWhenRoom(make: Make, onDone?: (result: LaterResult) => void): void {
    if (this.#phase !== 'open') {
      onDone?.('closed');
      return;
    }
    this.#waiting.push({ kind: 'later', make, onDone });
    this.#pump();
  }

  /** The other side has handled that much; undefined, or what is wrong with it. */
  credit(bytes: number): string | undefined {
    this.#windowBytes += bytes;
    if (this.#windowBytes > this.#grantedBytes) return 'gave back more Credit than was used';
    this.#lacksCredit = false;
    this.#pump();
    return undefined;
  }

  /** Resolves when no windowed frame waits (true) or the connection has ended (false). */
  drained(): Promise<boolean> {
    if (this.#phase === 'closed') return Promise.resolve(false);
    if (this.#isDrained) return Promise.resolve(true);
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  /** Hands everything that Credit allows to the stream; nothing is sent afterwards. Idempotent. */
  finish(): void {
    if (this.#phase === 'closed') return;
    this.#pump(true);
    this.#outbox.finish();
    this.drop();
  }

  /** Forgets what waits; nothing is sent afterwards. Idempotent. */
  drop(): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    const dropped = this.#waiting.slice(this.#head);
    this.#waiting = [];
    this.#head = 0;
    this.#waitingBytes = 0;
    this.#outbox.drop();
    this.#listen(true);
    for (const wake of this.#drainWaiters.splice(0)) wake(false);
    for (const item of dropped) if (item.kind === 'later') this.#guard(() => item.onDone?.('closed'));
  }

  get #hasRoom(): boolean {
    return this.#outbox.heldBytes < OUTBOX_BYTES;
  }

  get #isDrained(): boolean {
    return this.#waiting.length === 0 && this.#hasRoom;
  }

  #onTaken(): void {
    if (this.#outbox.controlBytes <= MAX_UNREAD_CONTROL_BYTES / 2) this.#listen(true);
    this.#pump();
  }

  #listen(isHeard: boolean): void {
    if (this.#isDeaf !== isHeard) return;
    this.#isDeaf = !isHeard;
    if (isHeard) this.#options.stream.resume();
    else this.#options.stream.pause();
  }

  /** Windowed frames leave in order, as far as Credit and room go. */
  #pump(isLast = false): void {
    if (this.#isPumping || this.#lacksCredit) return;
    this.#isPumping = true;
    while (this.#phase === 'open' && (isLast || this.#hasRoom)) {
      const next = this.#waiting[this.#head];
      if (next === undefined || !(next.kind === 'bytes' ? this.#leave(next) : this.#leaveLater(next))) break;
    }
    this.#waiting.splice(0, this.#head);
    this.#head = 0;
    this.#isPumping = false;
    if (this.#isDrained) for (const wake of this.#drainWaiters.splice(0)) wake(true);
  }

  /** False when Credit does not suffice for the first that waits. */
  #leave({ payload }: Extract<Waiting, { kind: 'bytes' }>): boolean {
    this.#lacksCredit = payload.length > this.#windowBytes;
    if (this.#lacksCredit) return false;
    this.#head++;
    this.#waitingBytes -= payload.length + WAITING_FRAME_BYTES;
    this.#handWindowed(payload);
    return true;
  }

  #leaveLater({ make, onDone }: Extract<Waiting, { kind: 'later' }>): boolean {
    const message = this.#guard(make);
    const payload = message === undefined ? undefined : encodeMessage(message);
    const isTooLarge = payload !== undefined && payload.length > this.#maxPayloadBytes;
    this.#lacksCredit = payload !== undefined && !isTooLarge && payload.length > this.#windowBytes;
    if (this.#lacksCredit) return false;
    if (this.#phase !== 'open') return false;
    this.#head++;
    if (payload !== undefined && !isTooLarge) this.#handWindowed(payload);
    this.#guard(() => onDone?.(isTooLarge ? 'too-large' : payload === undefined ? 'nothing' : 'sent'));
    return true;
  }

  #handWindowed(payload: Uint8Array): void {
    this.#windowBytes -= payload.length;
    this.#hand(payload, false);
  }

  #hand(payload: Uint8Array, isControl: boolean): void {
    const { counters } = this.#options;
    counters.framesOut++;
    counters.bytesOut += payload.length;
    this.#outbox.add(payload, isControl);
  }

  #isWithinBound(): boolean {
    if (this.heldBytes <= this.#options.maxHeldBytes) return true;
    this.#options.onProblem(`does not read: ${this.heldBytes} bytes wait for it`);
    return false;
  }

  #guard<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (thrown) {
      this.#options.onFailed(thrown);
      return undefined;
    }
  }
}
