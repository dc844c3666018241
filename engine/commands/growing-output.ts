/** The bytes a decompressor has written so far, which its copies refer back to: grows by doubling, up to a bound. */
const FIRST_BYTES = 64 * 1024;

export class GrowingOutput {
  readonly #maxBytes: number;
  #buffer: Buffer;
  #length = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#buffer = Buffer.allocUnsafe(Math.min(FIRST_BYTES, maxBytes));
  }

  append(bytes: Buffer): void {
    this.#reserve(bytes.length);
    bytes.copy(this.#buffer, this.#length);
    this.#length += bytes.length;
  }

  /** Repeats `length` bytes from `distance` back; the source may run into what it writes. */
  repeat(distance: number, length: number): void {
    if (distance < 1 || distance > this.#length) throw new RangeError('a copy refers to before the beginning');
    this.#reserve(length);
    const buffer = this.#buffer;
    for (let to = this.#length, end = to + length; to < end; to++) buffer[to] = buffer[to - distance] ?? 0;
    this.#length += length;
  }

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed > this.#maxBytes) throw new RangeError(`decompresses to more than ${this.#maxBytes} bytes`);
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.min(this.#maxBytes, Math.max(needed, this.#buffer.length * 2)));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
