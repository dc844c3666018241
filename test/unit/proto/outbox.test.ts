import { Writable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FrameDecoder } from '../../../proto/framing.ts';
import { Outbox } from '../../../proto/outbox.ts';

const KIB = 1024;
const STALL_MS = 1_000;

/** Takes a write only when it is told to, and keeps what came. */
class SlowStream extends Writable {
  readonly writes: Buffer[] = [];
  #done: (() => void)[] = [];

  constructor() {
    super({ highWaterMark: 1 });
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.writes.push(chunk);
    this.#done.push(done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.writes.push(Buffer.concat(chunks.map(({ chunk }) => chunk)));
    this.#done.push(done);
  }

  async take(): Promise<void> {
    for (const done of this.#done.splice(0)) done();
    await tick();
  }

  get isAsked(): boolean {
    return this.#done.length > 0;
  }
}

const tick = (): Promise<void> => new Promise((resolve) => process.nextTick(() => process.nextTick(resolve)));

/** Timers, and what they leave for after the events that wait. */
async function advance(ms: number): Promise<void> {
  vi.advanceTimersByTime(ms);
  await new Promise((resolve) => setImmediate(resolve));
}

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

function usedBytes(): number {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function open() {
  const stream = new SlowStream();
  const onTaken = vi.fn();
  const onStalled = vi.fn();
  const outbox = new Outbox({ stream, stallMs: STALL_MS, onTaken, onStalled });
  return { stream, outbox, onTaken, onStalled };
}

function payloadsOf(writes: readonly Buffer[]): Buffer[] {
  const payloads: Buffer[] = [];
  const result = new FrameDecoder(64 * KIB * KIB).push(Buffer.concat(writes), (payload) => {
    payloads.push(Buffer.from(payload));
    return true;
  });
  expect(result.ok).toBe(true);
  return payloads;
}

describe('frames on their way into a stream', () => {
  it('leave together at the end of the tick', async () => {
    const { stream, outbox } = open();
    outbox.add(Buffer.from('a'), true);
    outbox.add(Buffer.from('bc'), false);
    expect(stream.writes).toEqual([]);
    await tick();
    expect(stream.writes).toHaveLength(1);
    expect(payloadsOf(stream.writes).map(String)).toEqual(['a', 'bc']);
  });

  it('are counted until the stream has taken them, control frames apart', async () => {
    const { stream, outbox, onTaken } = open();
    outbox.add(Buffer.alloc(6), true);
    outbox.add(Buffer.alloc(100), false);
    expect([outbox.heldBytes, outbox.controlBytes]).toEqual([114, 10]);
    await tick();
    outbox.add(Buffer.alloc(16), true);
    expect([outbox.heldBytes, outbox.controlBytes]).toEqual([134, 30]);
    await stream.take();
    expect(onTaken).toHaveBeenCalled();
    expect([outbox.heldBytes, outbox.controlBytes]).toEqual([20, 20]);
    await stream.take();
    expect([outbox.heldBytes, outbox.controlBytes]).toEqual([0, 0]);
  });

  it('wait here and not in the stream, which has one write at a time', async () => {
    const { stream, outbox } = open();
    outbox.add(Buffer.alloc(10), true);
    await tick();
    for (let i = 0; i < 10_000; i++) {
      outbox.add(Buffer.alloc(20, i), true);
      if (i % 7 === 0) await tick();
    }
    expect(stream.writes).toHaveLength(1);
    expect(stream.writableLength).toBe(14);
    expect(outbox.heldBytes).toBe(14 + 10_000 * 24);
    while (stream.isAsked) await stream.take();
    expect(payloadsOf(stream.writes).slice(1)).toEqual(Array.from({ length: 10_000 }, (_, i) => Buffer.alloc(20, i)));
    expect(outbox.heldBytes).toBe(0);
  });

  it('keep their order and bytes, whatever their sizes and however they are taken', async () => {
    const { stream, outbox } = open();
    const sizes = [1, 16 * KIB, 16 * KIB + 1, 300 * KIB, 5, 64 * KIB, 1024 * KIB, 3, 255 * KIB, 15 * KIB, 2];
    const sent = sizes.flatMap((size, i) => [Buffer.alloc(size, i), Buffer.alloc(7, 100 + i)]);
    for (const [i, payload] of sent.entries()) {
      outbox.add(payload, i % 2 === 1);
      if (i % 3 === 0) await tick();
      if (i % 5 === 0) await stream.take();
    }
    await tick();
    while (stream.isAsked) await stream.take();
    const got = payloadsOf(stream.writes);
    expect(got.map((payload) => payload.length)).toEqual(sent.map((payload) => payload.length));
    expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true);
    expect([outbox.heldBytes, outbox.controlBytes]).toEqual([0, 0]);
  });

  it('leave in pieces of a bounded size', async () => {
    const { stream, outbox } = open();
    outbox.add(Buffer.alloc(2000 * KIB), false);
    for (let i = 0; i < 1000; i++) outbox.add(Buffer.alloc(KIB), false);
    await tick();
    while (stream.isAsked) await stream.take();
    expect(Math.max(...stream.writes.map((bytes) => bytes.length))).toBeLessThanOrEqual(256 * KIB);
    expect(stream.writes.length).toBeLessThan(20);
  });

  it('cost little more than their bytes while nobody takes them', async () => {
    const { outbox } = open();
    outbox.add(Buffer.alloc(10), true);
    await tick();
    const before = usedBytes();
    for (let i = 0; i < 200_000; i++) {
      outbox.add(new Uint8Array(20), true);
      if (i % 1000 === 0) await tick();
    }
    expect(outbox.heldBytes).toBe(14 + 200_000 * 24);
    // As an object each of them would be 500 bytes.
    expect(usedBytes() - before).toBeLessThan(1.3 * outbox.heldBytes);
  });

  it('are handed to the stream all together at the end, and none is taken afterwards', async () => {
    const { stream, outbox } = open();
    outbox.add(Buffer.from('a'), false);
    await tick();
    outbox.add(Buffer.from('b'), false);
    outbox.finish();
    outbox.finish();
    outbox.add(Buffer.from('c'), false);
    await tick();
    while (stream.isAsked) await stream.take();
    expect(payloadsOf(stream.writes).map(String)).toEqual(['a', 'b']);
  });

  it('are forgotten when they are dropped', async () => {
    const { stream, outbox, onTaken } = open();
    outbox.add(Buffer.from('a'), true);
    outbox.drop();
    await tick();
    expect(stream.writes).toEqual([]);
    expect(outbox.heldBytes).toBe(0);
    expect(onTaken).not.toHaveBeenCalled();
  });
});

describe('a stream that takes nothing', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('is told when its time is over, once', async () => {
    const { outbox, onStalled } = open();
    outbox.add(Buffer.alloc(10), true);
    await tick();
    await advance(STALL_MS - 1);
    expect(onStalled).not.toHaveBeenCalled();
    await advance(2);
    expect(onStalled).toHaveBeenCalledOnce();
    await advance(10 * STALL_MS);
    expect(onStalled).toHaveBeenCalledOnce();
  });

  it('has its time anew with each write that is taken', async () => {
    const { stream, outbox, onStalled } = open();
    outbox.add(Buffer.alloc(2000 * KIB), false);
    await tick();
    for (let i = 0; i < 5; i++) {
      await advance(STALL_MS - 10);
      await stream.take();
    }
    expect(onStalled).not.toHaveBeenCalled();
    await advance(STALL_MS + 1);
    expect(onStalled).toHaveBeenCalledOnce();
  });

  it('is not one that has nothing to take', async () => {
    const { stream, outbox, onStalled } = open();
    outbox.add(Buffer.alloc(10), true);
    await tick();
    await stream.take();
    await advance(10 * STALL_MS);
    expect(onStalled).not.toHaveBeenCalled();
  });

  it('is not one whose answer came while this process was held up', async () => {
    const { stream, outbox, onStalled } = open();
    outbox.add(Buffer.alloc(10), true);
    await tick();
    vi.advanceTimersByTime(STALL_MS);
    await stream.take();
    await advance(10 * STALL_MS);
    expect(onStalled).not.toHaveBeenCalled();
  });

  it('is forgotten with the connection', async () => {
    const { outbox, onStalled } = open();
    outbox.add(Buffer.alloc(10), true);
    await tick();
    outbox.drop();
    await advance(10 * STALL_MS);
    expect(onStalled).not.toHaveBeenCalled();
  });
});
