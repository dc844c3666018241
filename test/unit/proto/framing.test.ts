import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeFrame, FrameDecoder } from '../../../proto/framing.ts';

const CAP = 1 << 20;

function decodeAll(chunks: readonly Uint8Array[], maxFrameBytes = CAP) {
  const decoder = new FrameDecoder(maxFrameBytes);
  const frames: string[] = [];
  for (const chunk of chunks) {
    const result = decoder.push(chunk, (payload) => {
      frames.push(Buffer.from(payload).toString('hex'));
      return true;
    });
    if (!result.ok) return { frames, problem: result.problem };
  }
  const end = decoder.end();
  return end.ok ? { frames } : { frames, problem: end.problem };
}

/** Cuts the bytes at the given places. */
function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, i) => bytes.subarray(places[i] ?? 0, end));
}

const payloads = fc.array(fc.uint8Array({ minLength: 1, maxLength: 10_000 }), { maxLength: 20 });

describe('framing', () => {
  it('gives back any frames in order, wherever the stream is cut', () => {
    fc.assert(
      fc.property(payloads, fc.array(fc.nat(), { maxLength: 40 }), (frames, cuts) => {
        const wire = Buffer.concat(frames.map(encodeFrame));
        const expected = frames.map((frame) => Buffer.from(frame).toString('hex'));
        expect(decodeAll(split(wire, cuts))).toEqual({ frames: expected });
      }),
    );
  });

  it('gives back frames that come byte by byte', () => {
    const wire = Buffer.concat([encodeFrame(Buffer.from('abc')), encodeFrame(Buffer.alloc(9000, 7))]);
    const bytes = Array.from(wire, (byte) => Uint8Array.of(byte));
    expect(decodeAll(bytes).frames).toEqual([
      Buffer.from('abc').toString('hex'),
      Buffer.alloc(9000, 7).toString('hex'),
    ]);
  });

  it('never throws on junk and takes nothing after the first broken frame', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (chunks) => {
        const decoder = new FrameDecoder(64);
        let broken = false;
        for (const chunk of chunks) {
          let taken = 0;
          const result = decoder.push(chunk, (payload) => {
            taken++;
            return payload.length > 0 && payload.length <= 64;
          });
          if (broken) expect([result.ok, taken]).toEqual([false, 0]);
          broken = !result.ok;
        }
        expect(() => decoder.end()).not.toThrow();
      }),
    );
  });

  it('refuses a length of zero', () => {
    expect(decodeAll([Buffer.from([0, 0, 0, 0])]).problem).toBe('a frame of length 0');
  });

  it('refuses a frame over the cap as soon as its length is known', () => {
    const header = Buffer.alloc(4);
    header.writeUInt32BE(CAP + 1);
    expect(decodeAll([header]).problem).toMatch(/1048577 bytes; at most 1048576/);
    header.writeUInt32BE(0xffffffff);
    expect(decodeAll([header]).problem).toMatch(/4294967295 bytes/);
  });

  it('takes a frame of exactly the cap', () => {
    expect(decodeAll([encodeFrame(Buffer.alloc(CAP))]).frames).toHaveLength(1);
  });

  it('tells a stream that ends inside a header or a frame', () => {
    const frame = encodeFrame(Buffer.from('hello'));
    for (let length = 1; length < frame.length; length++) {
      expect(decodeAll([frame.subarray(0, length)]).problem).toBe('the stream ended inside a frame');
    }
  });

  it('does not reserve what a header only announces', () => {
    const header = Buffer.alloc(4);
    header.writeUInt32BE(512 * 1024 * 1024);
    const before = process.memoryUsage().arrayBuffers;
    const decoders = Array.from({ length: 50 }, () => new FrameDecoder(1024 * 1024 * 1024));
    for (const decoder of decoders) decoder.push(Buffer.concat([header, Buffer.from('x')]), () => true);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024);
  });

  it('stops handing out frames when its owner closed the connection', () => {
    const wire = Buffer.concat([encodeFrame(Buffer.from('a')), encodeFrame(Buffer.from('b'))]);
    const seen: string[] = [];
    new FrameDecoder().push(wire, (payload) => {
      seen.push(Buffer.from(payload).toString());
      return false;
    });
    expect(seen).toEqual(['a']);
  });
});
