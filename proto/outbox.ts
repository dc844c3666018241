/**
 * Frames on their way into a stream, for peer.ts: gathered, written one piece after the other, counted until the stream
 * has taken them. Knows nothing of messages. What may be held is its owner's decision; this tells how much it is.
 *
 * Invariants:
 *   O1. While the stream is busy, what waits is bytes in pages, not an object for each frame: half a million answers of
 *       20 bytes that nobody reads are 10 MB and not 300.
 *   O2. One write is under way at a time, of MAX_WRITE_BYTES at most, so that a reader that still reads can be told from
 *       one that does not: `onStalled` comes once, when nothing was taken for `stallMs`.
 *   O3. Bytes that were handed to the stream are never written to again: it may pass them on as they are.
 */
import type { Writable } from 'node:stream';
import { FRAME_HEADER_BYTES } from './framing.ts';

/** Four system calls for a piece of a bundle; at 20 KB a second it still counts as read. */
const MAX_WRITE_BYTES = 256 * 1024;
/** Larger payloads are not copied but written as they are. */
const MAX_COPIED_BYTES = 16 * 1024;
const PAGE_BYTES = 64 * 1024;
/** Frames of one tick that are gathered at its end; more are put into pages before. */
const MAX_FRESH_FRAMES = 256;

export interface OutboxOptions {
  readonly stream: Writable;
  readonly stallMs: number;
  /** Some of it was taken: there is room. */
  readonly onTaken: () => void;
  readonly onStalled: () => void;
}

/** One buffer, or a part of one, with how much of it was small talk. */
interface Piece {
  bytes: Uint8Array;
  controlBytes: number;
}

export class Outbox {
  readonly #options: OutboxOptions;
  /** Of this tick, not yet gathered. */
  #fresh: Uint8Array[] = [];
  #freshCopiedBytes = 0;
  #freshControlBytes = 0;
  #isTicking = false;
  #pieces: Piece[] = [];
  #page = Buffer.alloc(0);
  /** Where the page is free, and where its bytes begin that are in no piece yet. */
  #pageEnd = 0;
  #pageStart = 0;
  #pageControlBytes = 0;
  /** What is with the stream now. */
  #isWriting = false;
  #writtenBytes = 0;
  #writtenControlBytes = 0;
  #heldBytes = 0;
  #controlBytes = 0;
  #takenAt = 0;
  #stallTimer: NodeJS.Timeout | undefined;
  #isClosed = false;

  readonly #onTick = (): void => {
    this.#isTicking = false;
    if (this.#isClosed) return;
    this.#gather();
    this.#write();
  };
  readonly #onWritten = (error?: Error | null): void => {
    // The stream tells its owner about an error by itself.
    if ((error !== undefined && error !== null) || this.#isClosed) return;
    this.#isWriting = false;
    this.#heldBytes -= this.#writtenBytes;
    this.#controlBytes -= this.#writtenControlBytes;
    this.#gather();
    this.#write();
    this.#options.onTaken();
  };

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Everything that the stream has not taken yet. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Of it, control frames. */
  get controlBytes(): number {
    return this.#controlBytes;
  }

  /** The frame leaves with the others of this tick, when what is before it has gone. */
  add(payload: Uint8Array, isControl: boolean): void {
    if (this.#isClosed) return;
    const bytes = FRAME_HEADER_BYTES + payload.length;
    this.#heldBytes += bytes;
    this.#fresh.push(payload);
    this.#freshCopiedBytes += copiedBytes(payload);
    if (isControl) {
      this.#controlBytes += bytes;
      this.#freshControlBytes += bytes;
    }
    if (this.#fresh.length >= MAX_FRESH_FRAMES) this.#gather();
    if (this.#isTicking) return;
    this.#isTicking = true;
    process.nextTick(this.#onTick);
  }

  /** Hands everything to the stream and takes nothing more; the stream's end is its owner's. Idempotent. */
  finish(): void {
    if (this.#isClosed) return;
    this.#gather();
    this.#seal();
    for (const { bytes } of this.#pieces) this.#options.stream.write(bytes);
    this.drop();
  }

  /** Forgets everything. Idempotent. */
  drop(): void {
    this.#isClosed = true;
    clearTimeout(this.#stallTimer);
    this.#fresh = [];
    this.#pieces = [];
    this.#page = Buffer.alloc(0);
    this.#pageStart = this.#pageEnd = 0;
    this.#heldBytes = this.#controlBytes = 0;
  }

  /** The frames of this tick into pieces: into one buffer of their size where they can leave at once, else into pages. */
  #gather(): void {
    const frames = this.#fresh;
    if (frames.length === 0) return;
    const isIdle = !this.#isWriting && this.#pieces.length === 0 && this.#pageStart === this.#pageEnd;
    let leftBytes = this.#freshCopiedBytes;
    this.#pageControlBytes += this.#freshControlBytes;
    for (const payload of frames) {
      const copied = copiedBytes(payload);
      if (this.#page.length - this.#pageEnd < copied) {
        this.#seal();
        this.#page = isIdle ? Buffer.allocUnsafe(leftBytes) : Buffer.allocUnsafeSlow(PAGE_BYTES);
        this.#pageStart = this.#pageEnd = 0;
      }
      leftBytes -= copied;
      this.#pageEnd = this.#page.writeUInt32BE(payload.length, this.#pageEnd);
      if (payload.length > MAX_COPIED_BYTES) {
        this.#seal();
        this.#pieces.push({ bytes: payload, controlBytes: 0 });
      } else {
        this.#page.set(payload, this.#pageEnd);
        this.#pageEnd += payload.length;
      }
    }
    this.#fresh = [];
    this.#freshCopiedBytes = this.#freshControlBytes = 0;
  }

  /** What the page has so far is a piece; what comes next follows behind it in the same page. */
  #seal(): void {
    if (this.#pageStart === this.#pageEnd) return;
    const bytes = this.#page.subarray(this.#pageStart, this.#pageEnd);
    this.#pieces.push({ bytes, controlBytes: this.#pageControlBytes });
    this.#pageStart = this.#pageEnd;
    this.#pageControlBytes = 0;
  }

  #write(): void {
    if (this.#isWriting || this.#isClosed) return;
    if (this.#pieces.length === 0) this.#seal();
    if (this.#pieces.length === 0) return;
    this.#isWriting = true;
    this.#takenAt = performance.now();
    if (this.#stallTimer === undefined) this.#watch(this.#options.stallMs);
    const taken = this.#take();
    const { stream } = this.#options;
    const last = taken.pop();
    if (taken.length > 0) stream.cork();
    for (const bytes of taken) stream.write(bytes);
    stream.write(last, this.#onWritten);
    if (taken.length > 0) stream.uncork();
  }

  /** The first pieces, as many as one write takes; of one that is too large its beginning. */
  #take(): Uint8Array[] {
    const taken: Uint8Array[] = [];
    this.#writtenBytes = this.#writtenControlBytes = 0;
    let count = 0;
    for (const piece of this.#pieces) {
      const room = MAX_WRITE_BYTES - this.#writtenBytes;
      if (piece.bytes.length > room) {
        if (room < MAX_COPIED_BYTES) break;
        taken.push(piece.bytes.subarray(0, room));
        piece.bytes = piece.bytes.subarray(room);
        this.#writtenBytes += room;
        break;
      }
      taken.push(piece.bytes);
      this.#writtenBytes += piece.bytes.length;
      this.#writtenControlBytes += piece.controlBytes;
      count++;
    }
    if (count === this.#pieces.length) this.#pieces = [];
    else this.#pieces.splice(0, count);
    return taken;
  }

  /** One timer for many writes: it looks when the last of them would have taken too long. */
  #watch(inMs: number): void {
    this.#stallTimer = setTimeout(() => {
      this.#stallTimer = undefined;
      // When this process was held up itself, the stream's answer has come and is only not heard yet.
      setImmediate(() => this.#judge());
    }, inMs);
    // The connection keeps a process alive, not the doubt about it.
    this.#stallTimer.unref();
  }

  #judge(): void {
    if (!this.#isWriting || this.#isClosed || this.#stallTimer !== undefined) return;
    const leftMs = this.#takenAt + this.#options.stallMs - performance.now();
    if (leftMs > 0) this.#watch(leftMs);
    else this.#options.onStalled();
  }
}

function copiedBytes(payload: Uint8Array): number {
  return FRAME_HEADER_BYTES + (payload.length > MAX_COPIED_BYTES ? 0 : payload.length);
}
