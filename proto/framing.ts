/**
 * Frames on a byte stream: a 4-byte big-endian length, then that many bytes (design 5.1). Knows nothing of what is in
 * a frame and nothing of streams; peer.ts puts it on one.
 *
 * Invariants:
 *   F1. Bytes from outside never make the decoder throw: a length of zero, one over the cap or a truncated end is a
 *       value that names the problem, and the decoder takes nothing more after it.
 *   F2. Memory held is at most twice the bytes that really arrived, whatever length a header announces, and each byte
 *       is copied a bounded number of times (the buffer doubles).
 */

export const FRAME_HEADER_BYTES = 4;
/** Holds a step's inputs (8 MiB at most) with room to spare; far below what a length field could ask for. */
export const DEFAULT_MAX_FRAME_BYTES = 16 * 1024 * 1024;
/** First size of the buffer for a frame that arrives in pieces: most such frames are a few pages. */
const FIRST_BUFFER_BYTES = 4096;

export type FramingResult = { readonly ok: true } | { readonly ok: false; readonly problem: string };

const FINE: FramingResult = { ok: true };

type DecoderState =
  | { phase: 'header'; have: number }
  | { phase: 'body'; length: number; have: number; buffer: Uint8Array }
  | { phase: 'broken'; result: FramingResult };

export class FrameDecoder {
  readonly #maxFrameBytes: number;
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES);
  #state: DecoderState = { phase: 'header', have: 0 };

  constructor(maxFrameBytes: number = DEFAULT_MAX_FRAME_BYTES) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  /**
   * Takes the next bytes and hands each whole frame to `onFrame`, in order. A frame may be a view of `chunk`.
   * `onFrame` answers false to stop (the connection was closed meanwhile); the rest of the chunk is then dropped.
   */
  push(chunk: Uint8Array, onFrame: (payload: Uint8Array) => boolean): FramingResult {
    let at = 0;
    while (at < chunk.length) {
      const state = this.#state;
      if (state.phase === 'broken') return state.result;
      if (state.phase === 'header') {
        const taken = Math.min(FRAME_HEADER_BYTES - state.have, chunk.length - at);
        this.#header.set(chunk.subarray(at, at + taken), state.have);
        at += taken;
        state.have += taken;
        if (state.have < FRAME_HEADER_BYTES) break;
        const length = readLength(this.#header);
        if (length === 0 || length > this.#maxFrameBytes) return this.#breakAt(length);
        if (chunk.length - at >= length) {
          // The usual case: the whole frame is here and nothing needs to be copied.
          this.#state = { phase: 'header', have: 0 };
          at += length;
          if (!onFrame(chunk.subarray(at - length, at))) return FINE;
          continue;
        }
        const first = new Uint8Array(Math.min(length, FIRST_BUFFER_BYTES));
        this.#state = { phase: 'body', length, have: 0, buffer: first };
        continue;
      }
      const taken = Math.min(state.length - state.have, chunk.length - at);
      append(state, chunk.subarray(at, at + taken));
      at += taken;
      if (state.have < state.length) break;
      this.#state = { phase: 'header', have: 0 };
      if (!onFrame(state.buffer.subarray(0, state.length))) return FINE;
    }
    return this.#state.phase === 'broken' ? this.#state.result : FINE;
  }

  /** The stream ended. Not ok when it ended inside a frame. */
  end(): FramingResult {
    const state = this.#state;
    if (state.phase === 'broken') return state.result;
    if (state.phase === 'header' && state.have === 0) return FINE;
    const result: FramingResult = { ok: false, problem: 'the stream ended inside a frame' };
    this.#state = { phase: 'broken', result };
    return result;
  }

  #breakAt(length: number): FramingResult {
    const problem =
      length === 0 ? 'a frame of length 0' : `a frame of ${length} bytes; at most ${this.#maxFrameBytes} are read`;
    const result: FramingResult = { ok: false, problem };
    this.#state = { phase: 'broken', result };
    return result;
  }
}

/** One frame as it goes onto the wire. The caller has made sure that the other side reads frames of this size. */
export function encodeFrame(payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
  frame.writeUInt32BE(payload.length, 0);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

function readLength(header: Uint8Array): number {
  return new DataView(header.buffer, header.byteOffset, FRAME_HEADER_BYTES).getUint32(0);
}

function append(state: { length: number; have: number; buffer: Uint8Array }, bytes: Uint8Array): void {
  const needed = state.have + bytes.length;
  if (needed > state.buffer.length) {
    const grown = new Uint8Array(Math.min(state.length, Math.max(needed, state.buffer.length * 2)));
    grown.set(state.buffer.subarray(0, state.have));
    state.buffer = grown;
  }
  state.buffer.set(bytes, state.have);
  state.have = needed;
}
