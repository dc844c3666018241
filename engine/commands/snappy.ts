/**
 * Snappy, as Kafka's producers write it: a raw block (github.com/google/snappy, format_description.txt), or blocks in the
 * framing of the Java library: an 8-byte magic, two 32-bit versions, then each block behind its 32-bit length.
 */
import { GrowingOutput } from './growing-output.ts';

const JAVA_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);
const JAVA_HEADER_BYTES = 16;

/** @throws RangeError for bytes that are not snappy, and beyond `maxBytes` */
export function decompressSnappy(bytes: Buffer, maxBytes: number): Buffer {
  const output = new GrowingOutput(maxBytes);
  if (!bytes.subarray(0, JAVA_MAGIC.length).equals(JAVA_MAGIC)) {
    appendBlock(bytes, output);
    return output.bytes();
  }
  for (let at = JAVA_HEADER_BYTES; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    at += 4;
    if (at + length > bytes.length) throw new RangeError('a snappy block is cut off');
    appendBlock(bytes.subarray(at, at + length), output);
    at += length;
  }
  return output.bytes();
}

function appendBlock(block: Buffer, output: GrowingOutput): void {
  // The uncompressed length, a varint, is only a hint here: the output is bounded by itself.
  let at = 0;
  while (block.readUInt8(at++) >= 0x80);
  while (at < block.length) {
    const tag = block.readUInt8(at++);
    const high = tag >> 2;
    switch (tag & 3) {
      case 0: {
        const lengthBytes = Math.max(0, high - 59);
        const length = (lengthBytes === 0 ? high : block.readUIntLE(at, lengthBytes)) + 1;
        at += lengthBytes;
        if (at + length > block.length) throw new RangeError('a snappy literal is cut off');
        output.append(block.subarray(at, at + length));
        at += length;
        break;
      }
      case 1:
        output.repeat(((tag >> 5) << 8) | block.readUInt8(at), (high & 7) + 4);
        at += 1;
        break;
      case 2:
        output.repeat(block.readUInt16LE(at), high + 1);
        at += 2;
        break;
      default:
        output.repeat(block.readUInt32LE(at), high + 1);
        at += 4;
    }
  }
}
