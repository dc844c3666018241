import { decompressLz4Frames } from '@flowops/engine/commands/lz4.ts';
import { decompressSnappy } from '@flowops/engine/commands/snappy.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const LIMIT = 1024 * 1024;

describe('decompressSnappy', () => {
  it('reads literals of every length form and copies that run into what they write', () => {
    const long = 'y'.repeat(100);
    const block = Buffer.concat([
      Buffer.from([110, 3 << 2]),
      Buffer.from('abcd'),
      Buffer.from([(2 << 2) | 1, 4]), // 6 bytes from 4 back
      Buffer.from([60 << 2, 99]),
      Buffer.from(long),
    ]);
    expect(decompressSnappy(block, LIMIT).toString()).toBe(`abcdabcdab${long}`);
  });

  it('reads the framing of the Java library', () => {
    const block = Buffer.from([2, 1 << 2, 0x68, 0x69]);
    const head = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    const framed = Buffer.concat([head, Buffer.from([0, 0, 0, 4]), block, Buffer.from([0, 0, 0, 4]), block]);
    expect(decompressSnappy(framed, LIMIT).toString()).toBe('hihi');
  });

  it('stops at its bound', () => {
    const bomb = Buffer.concat([Buffer.from([0, 0, 0x61]), Buffer.alloc(300_000, Buffer.from([0xfe, 1, 0]))]);
    expect(() => decompressSnappy(bomb, LIMIT)).toThrow('more than 1048576 bytes');
  });
});

describe('decompressLz4Frames', () => {
  it('reads stored and compressed blocks, also of several frames', () => {
    const stored = Buffer.from([3, 0, 0, 0x80, 0x61, 0x62, 0x63]);
    const compressed = Buffer.from([6, 0, 0, 0, 0x14, 0x78, 1, 0, 0x10, 0x7a]); // x, 8 more of it, z
    const one = frame(stored, compressed);
    expect(decompressLz4Frames(Buffer.concat([one, one]), LIMIT).toString()).toBe('abcxxxxxxxxxz'.repeat(2));
  });

  it('refuses a frame that needs a dictionary, and what is no frame', () => {
    const needsDictionary = frame();
    needsDictionary.writeUInt8(0x61, 4);
    expect(() => decompressLz4Frames(needsDictionary, LIMIT)).toThrow('dictionary');
    expect(() => decompressLz4Frames(Buffer.from('no frame'), LIMIT)).toThrow(RangeError);
  });
});

describe.each([
  ['snappy', (bytes: Buffer) => decompressSnappy(bytes, LIMIT)],
  ['lz4', (bytes: Buffer) => decompressLz4Frames(bytes, LIMIT)],
  ['an lz4 block', (bytes: Buffer) => decompressLz4Frames(frame(withSize(bytes)), LIMIT)],
])('%s from a stranger', (_name, decompress) => {
  it('ends within the bound or with a RangeError, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        try {
          expect(decompress(Buffer.from(bytes)).length).toBeLessThanOrEqual(LIMIT);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(RangeError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

function frame(...blocks: readonly Buffer[]): Buffer {
  const head = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
  return Buffer.concat([head, ...blocks, Buffer.alloc(4)]);
}

function withSize(block: Buffer): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(block.length);
  return Buffer.concat([size, block]);
}
