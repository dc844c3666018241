/** Peers that do not read, or not enough: what waits for them is bounded, and what the others have goes on. */
import { duplexPair } from 'node:stream';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { encodeFrame } from '../../../proto/framing.ts';
import {
  DEFAULT_STALL_MS,
  Peer,
  type PeerMessage,
  type PeerMessageInit,
  type PeerOptions,
} from '../../../proto/peer.ts';
import { encodeMessage } from '../../../proto/peer-rules.ts';
import { DEFAULT_MAX_HELD_BYTES } from '../../../proto/send-queue.ts';
import { helloOf, MIB, Wire } from '../../fixtures/sandbox/wire.ts';

const TOKEN = Buffer.alloc(16, 1);
const MAX_UNREAD_CONTROL_BYTES = MIB;
/** What has arrived when reading stops: a buffer of the stream on each side. */
const ARRIVED_BYTES = 256 * 1024;

/** Megabytes of frames, on a machine that is busy with other tests. */
const SLOWLY = { timeout: 60_000 };

type Hello = Record<string, unknown>;

async function openGreeted(options: Partial<PeerOptions> = {}, hello: Hello = {}) {
  const wire = new Wire();
  const messages: PeerMessage[] = [];
  const opened = Promise.withResolvers<void>();
  const peer = new Peer({
    stream: wire.far,
    side: 'runner',
    role: 'host',
    instance: 'host-1',
    accepts: ['engine'],
    onOpen: () => opened.resolve(),
    onMessage: (message) => {
      messages.push(message);
    },
    ...options,
  });
  wire.send(helloOf(options.accepts?.[0] ?? 'engine', hello));
  await opened.promise;
  await wire.next('hello');
  return { wire, peer, messages };
}

const log = (bytes: number): PeerMessageInit => ({ case: 'log', value: { token: TOKEN, message: 'x'.repeat(bytes) } });
const small = { maxFrameBytes: 2 * MIB, windowBytes: 4 * MIB };
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Until nothing changes any more. */
async function settle(read: () => number): Promise<void> {
  for (let last = -1; last !== read(); ) {
    last = read();
    for (let i = 0; i < 20; i++) await turn();
  }
}

afterEach(() => {
  vi.useRealTimers();
});

describe('a peer that leaves its answers unread', SLOWLY, () => {
  const attach = { case: 'attach', value: { token: TOKEN } } as const;

  /** Answers each Attach; the other side reads nothing of it. */
  async function openAsking(options: Partial<PeerOptions> = {}) {
    const made = await openGreeted({
      onMessage: () => void made.peer.send({ case: 'attachReply', value: { token: TOKEN } }),
      ...options,
    });
    made.wire.pause();
    return made;
  }

  async function ask({ wire, peer }: Awaited<ReturnType<typeof openAsking>>, total: number, batch: number) {
    const frames = Buffer.concat(Array.from({ length: batch }, () => encodeFrame(encodeMessage(attach))));
    for (let sent = 0; sent < total; sent += batch) {
      // A socket hands over 64 KiB at a time, however much was written.
      for (let at = 0; at < frames.length; at += 65_536) wire.raw(frames.subarray(at, at + 65_536));
      await turn();
    }
    await settle(() => peer.counters.framesIn);
  }

  it.each([
    ['small', 1_000],
    ['large', 70_000],
  ])('is not heard any more, and heard again when it reads: %s batches', async (_, batch) => {
    const made = await openAsking();
    await ask(made, 70_000, batch);
    const { wire, peer } = made;
    expect(peer.heldBytes).toBeGreaterThan(MAX_UNREAD_CONTROL_BYTES);
    expect(peer.heldBytes).toBeLessThan(MAX_UNREAD_CONTROL_BYTES + ARRIVED_BYTES);
    expect(peer.counters.framesIn).toBeLessThan(60_000);
    wire.resume();
    await wire.next('attachReply', 69_999);
    wire.send({ case: 'ping', value: { id: 1 } });
    await wire.next('pong');
    await settle(() => peer.heldBytes);
    expect(peer.heldBytes).toBe(0);
  });

  it('is cut off when it takes nothing for long', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const made = await openAsking();
    await ask(made, 60_000, 60_000);
    vi.advanceTimersByTime(DEFAULT_STALL_MS - 1);
    await turn();
    expect(made.peer.isOpen).toBe(true);
    vi.advanceTimersByTime(1);
    expect(await made.peer.closed).toMatchObject({
      kind: 'protocol-error',
      code: 'PROTOCOL_ERROR',
      message: expect.stringMatching(/^does not read: \d+ bytes wait for it and it took none in 15000 ms$/),
    });
  });

  it('is cut off when it says nothing either', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const { peer } = await openAsking({ stallMs: 500 });
    for (let i = 0; i < 10; i++) peer.send(log(100_000));
    await turn();
    vi.advanceTimersByTime(500);
    expect(await peer.closed).toMatchObject({
      kind: 'protocol-error',
      message: expect.stringMatching(/does not read/),
    });
  });

  it('is seen to have gone although it is not heard', async () => {
    const made = await openAsking();
    await ask(made, 60_000, 60_000);
    made.wire.far.destroy(new Error('write EPIPE'));
    expect(await made.peer.closed).toMatchObject({ kind: 'failed', message: 'write EPIPE' });
  });
});

describe('what waits for a peer', SLOWLY, () => {
  it.each([
    ['its window is small', small],
    ['it grants a window of 4 GB', { windowBytes: 2 ** 32 - 1 }],
    ['it would read frames of 4 GB', { maxFrameBytes: 2 ** 31 - 1, windowBytes: 2 ** 32 - 1 }],
  ])('is bounded when %s', async (_, hello) => {
    const { wire, peer } = await openGreeted({}, hello);
    wire.pause();
    let highest = 0;
    while (peer.send(log(100_000)) !== 'closed') highest = Math.max(highest, peer.heldBytes);
    expect(highest).toBeGreaterThan(DEFAULT_MAX_HELD_BYTES - 200_000);
    expect(highest).toBeLessThanOrEqual(DEFAULT_MAX_HELD_BYTES);
    expect(await peer.closed).toMatchObject({
      kind: 'protocol-error',
      message: expect.stringMatching(/does not read/),
    });
    expect(peer.heldBytes).toBe(0);
  });

  it('counts what small frames cost, not only what they say', async () => {
    const { wire, peer } = await openGreeted({}, small);
    wire.pause();
    let frames = 0;
    while (peer.send(log(10)) !== 'closed') frames++;
    // 4 MiB of 30 bytes each in pages, then 20 MiB of frames that wait as objects.
    expect(frames).toBeLessThan(180_000);
  });

  it('is not more than a frame of ours, whatever it would read', async () => {
    const { peer } = await openGreeted({}, { maxFrameBytes: 2 ** 31 - 1, windowBytes: 2 ** 32 - 1 });
    expect(peer.send(log(16 * MIB))).toBe('too-large');
  });

  it('still leaves when the connection is closed, as far as its window goes', async () => {
    const { wire, peer } = await openGreeted();
    for (let i = 0; i < 20; i++) peer.send(log(MIB));
    peer.sendWhenRoom(() => log(5));
    expect(peer.heldBytes).toBeGreaterThan(20 * MIB);
    peer.close('done');
    await wire.next('log', 20);
    expect(wire.all('log').at(-1)?.message).toBe('xxxxx');
  });
});

describe('two peers that are both full', SLOWLY, () => {
  it('go on: nobody waits for the other', async () => {
    const [a, b] = duplexPair();
    const counts = { invoke: 0, log: 0 };
    const opened = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const host = new Peer({
      ...{ stream: a, side: 'runner', role: 'host', instance: 'h', accepts: ['engine'] },
      onOpen: () => opened[0]?.resolve(),
      onMessage: (message) => {
        if (message.case === 'invoke') counts.invoke++;
      },
    });
    const engine = new Peer({
      ...{ stream: b, side: 'caller', role: 'engine', instance: 'e', accepts: ['host'] },
      onOpen: () => opened[1]?.resolve(),
      onMessage: (message) => {
        if (message.case === 'log') counts.log++;
      },
    });
    await Promise.all(opened.map(({ promise }) => promise));
    const inputsJson = Buffer.alloc(MIB);
    for (let i = 0; i < 60; i++) {
      host.sendWhenRoom(() => log(MIB));
      engine.sendWhenRoom(() => ({ case: 'invoke', value: { token: TOKEN, inputsJson } }));
    }
    for (let i = 0; i < 20_000; i++) {
      host.send({ case: 'started', value: { token: TOKEN } });
      engine.send({ case: 'cancel', value: { token: TOKEN } });
    }
    expect(await Promise.all([host.drained(), engine.drained()])).toEqual([true, true]);
    await settle(() => counts.log + counts.invoke);
    expect(counts).toEqual({ invoke: 60, log: 60 });
    host.close('done');
    engine.close('done');
  });
});

describe('a message that is sent when there is room', () => {
  it('is made when its turn has come, in the order of the others', async () => {
    const { wire, peer } = await openGreeted({}, small);
    wire.pause();
    const made = vi.fn();
    for (let i = 0; i < 10; i++) {
      peer.sendWhenRoom(() => {
        made(i);
        return log(MIB + i);
      });
    }
    expect(made.mock.calls.length).toBeLessThan(5);
    expect(peer.heldBytes).toBeLessThan(4 * MIB);
    expect(peer.send(log(7))).toBe('queued');
    wire.resume();
    await wire.next('log', 2);
    wire.send({ case: 'credit', value: { bytes: 3 * MIB } });
    await wire.next('log', 5);
    wire.send({ case: 'credit', value: { bytes: 3 * MIB } });
    await wire.next('log', 8);
    wire.send({ case: 'credit', value: { bytes: 3 * MIB } });
    await wire.next('log', 10);
    expect(wire.all('log').map(({ message }) => message.length)).toEqual([
      ...Array.from({ length: 10 }, (_, i) => MIB + i),
      7,
    ]);
  });

  it('tells how it went', async () => {
    const { peer } = await openGreeted({}, small);
    const told: string[] = [];
    peer.sendWhenRoom(
      () => log(1),
      (how) => told.push(how),
    );
    peer.sendWhenRoom(
      () => undefined,
      (how) => told.push(how),
    );
    peer.sendWhenRoom(
      () => log(3 * MIB),
      (how) => told.push(how),
    );
    expect(told).toEqual(['sent', 'nothing', 'too-large']);
    expect(peer.isOpen).toBe(true);
  });

  it('is told as closed when the connection ends before, and never made', async () => {
    const { wire, peer } = await openGreeted({}, small);
    wire.pause();
    for (let i = 0; i < 5; i++) peer.send(log(MIB));
    const make = vi.fn(() => log(1));
    const onDone = vi.fn();
    peer.sendWhenRoom(make, onDone);
    peer.fail('enough');
    expect(onDone.mock.calls).toEqual([['closed']]);
    peer.sendWhenRoom(make, onDone);
    expect(onDone).toHaveBeenCalledTimes(2);
    expect(make).not.toHaveBeenCalled();
  });

  it('that cannot be made ends the connection and throws nowhere', async () => {
    const { peer } = await openGreeted();
    peer.sendWhenRoom(() => {
      throw new Error('a bug');
    });
    expect(await peer.closed).toEqual({ kind: 'failed', message: 'a handler failed: a bug' });
  });
});
