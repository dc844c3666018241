/**
 * LZ4 frames, as Kafka's producers write them (github.com/lz4/lz4, doc/lz4_Frame_format.md and lz4_Block_format.md).
 * Checksums are not verified: the record batch around them has its own.
 */
import { GrowingOutput } from './growing-output.ts';

const MAGIC = 0x184d2204;
const FLAG_DICTIONARY = 0x01;
const FLAG_CONTENT_CHECKSUM = 0x04;
const FLAG_CONTENT_SIZE = 0x08;
const FLAG_BLOCK_CHECKSUM = 0x10;
const STORED = 0x80000000;
const MIN_MATCH = 4;

/** @throws RangeError for bytes that are not LZ4, and beyond `maxBytes` */
export function decompressLz4Frames(bytes: Buffer, maxBytes: number): Buffer {
  const output = new GrowingOutput(maxBytes);
  for (let at = 0; at < bytes.length; ) at = appendFrame(bytes, at, output);
  return output.bytes();
}

/** @returns where the frame ends */
function appendFrame(bytes: Buffer, start: number, output: GrowingOutput): number {
  if (bytes.readUInt32LE(start) !== MAGIC) throw new RangeError('not an LZ4 frame');
  const flags = bytes.readUInt8(start + 4);
  if ((flags & FLAG_DICTIONARY) !== 0) throw new RangeError('an LZ4 frame that needs a dictionary');
  // Magic, flags, block descriptor, optional size, header checksum.
  let at = start + 4 + 2 + ((flags & FLAG_CONTENT_SIZE) !== 0 ? 8 : 0) + 1;
  for (;;) {
    const size = bytes.readUInt32LE(at);
    at += 4;
    if (size === 0) break;
    const length = size & ~STORED;
    if (at + length > bytes.length) throw new RangeError('an LZ4 block is cut off');
    const block = bytes.subarray(at, at + length);
    if (size >= STORED) output.append(block);
    else appendBlock(block, output);
    at += length + ((flags & FLAG_BLOCK_CHECKSUM) !== 0 ? 4 : 0);
  }
  return at + ((flags & FLAG_CONTENT_CHECKSUM) !== 0 ? 4 : 0);
}

function appendBlock(block: Buffer, output: GrowingOutput): void {
  let at = 0;
  const extended = (nibble: number): number => {
    let length = nibble;
    if (nibble !== 15) return length;
    for (;;) {
      const more = block.readUInt8(at++);
      length += more;
      if (more !== 255) return length;
    }
  };
  while (at < block.length) {
    const token = block.readUInt8(at++);
    const literal = extended(token >> 4);
    if (at + literal > block.length) throw new RangeError('an LZ4 literal is cut off');
    output.append(block.subarray(at, at + literal));
    at += literal;
    // The last sequence of a block has no match.
    if (at === block.length) return;
    const distance = block.readUInt16LE(at);
    at += 2;
    output.repeat(distance, extended(token & 15) + MIN_MATCH);
  }
}
