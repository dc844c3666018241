import { afterEach, describe, expect, it, vi } from 'vitest';
import { Peer, type PeerMessage, type PeerOptions, type RemoteHello } from '../../../proto/peer.ts';
import { helloOf, MIB, Wire } from '../../fixtures/sandbox/wire.ts';

const TOKEN = Buffer.alloc(16, 1);

function open(options: Partial<PeerOptions> = {}) {
  const wire = new Wire();
  const messages: PeerMessage[] = [];
  const opened = Promise.withResolvers<RemoteHello>();
  const peer = new Peer({
    stream: wire.far,
    side: 'runner',
    role: 'host',
    instance: 'host-1',
    accepts: ['engine'],
    onOpen: opened.resolve,
    onMessage: (message) => {
      messages.push(message);
    },
    ...options,
  });
  return { wire, peer, messages, opened: opened.promise };
}

async function openGreeted(options: Partial<PeerOptions> = {}) {
  const made = open(options);
  made.wire.send(helloOf(options.accepts?.[0] ?? 'engine'));
  await made.opened;
  return made;
}

afterEach(() => {
  vi.useRealTimers();
});

describe('the Hello', () => {
  it('goes out at once and opens the connection when the other one came', async () => {
    const { wire, opened, peer } = open({ maxAttempts: 7 });
    const hello = await wire.next('hello');
    expect(hello).toMatchObject({ minVersion: 1, maxVersion: 1, role: 'host', instance: 'host-1', maxAttempts: 7 });
    expect(peer.isOpen).toBe(false);
    wire.send(helloOf('engine', { capabilities: ['x'], maxAttempts: 3 }));
    expect(await opened).toMatchObject({ role: 'engine', instance: 'by-hand', capabilities: ['x'], maxAttempts: 3 });
    expect(peer.isOpen).toBe(true);
  });

  it.each([
    ['comes from a later version only', helloOf('engine', { minVersion: 2, maxVersion: 3 }), /versions 2 to 3/],
    ['comes from an unknown role', helloOf('constructor'), /role "constructor"/],
    ['comes from a role that is not welcome', helloOf('isolate-worker'), /role "isolate-worker"/],
    ['names no instance', helloOf('engine', { instance: '' }), /without a name/],
    [
      'names more ended hosts than anybody asks for',
      helloOf('engine', { endedInstances: Array(65).fill('a') }),
      /65 ended/,
    ],
    ['reads too small frames', helloOf('engine', { maxFrameBytes: 1000 }), /limits too small/],
    ['grants a window that one frame could fill', helloOf('engine', { windowBytes: 16 * MIB }), /limits too small/],
  ])('closes the connection when it %s', async (_, hello, problem) => {
    const { wire, peer } = open();
    wire.send(hello);
    expect(await peer.closed).toMatchObject({
      kind: 'protocol-error',
      code: 'PROTOCOL_ERROR',
      message: expect.stringMatching(problem),
    });
  });

  it('tells the lease, the cores and the former hosts of a host', async () => {
    const { wire } = open({ leaseMs: 5, cores: 6, endedInstances: ['host-old'] });
    expect(await wire.next('hello')).toMatchObject({ leaseMs: 5, cores: 6, endedInstances: ['host-old'] });
  });

  it('closes the connection when it does not come in time', async () => {
    vi.useFakeTimers();
    const { peer } = open({ helloTimeoutMs: 500 });
    vi.advanceTimersByTime(500);
    expect(await peer.closed).toMatchObject({ kind: 'protocol-error', message: 'no Hello within 500 ms' });
  });

  it('must come first', async () => {
    const { wire, peer } = open();
    wire.send({ case: 'ping', value: { id: 1 } });
    expect(await peer.closed).toMatchObject({ kind: 'protocol-error', message: 'ping before Hello' });
  });

  it('must come once', async () => {
    const { wire, peer } = await openGreeted();
    wire.send(helloOf('engine'));
    expect(await peer.closed).toMatchObject({ kind: 'protocol-error', message: 'a second Hello' });
  });
});

describe('messages', () => {
  it.each(['result', 'started', 'needBundle', 'hostCall', 'log', 'progress', 'attachReply', 'draining'] as const)(
    'from the wrong side close the connection: %s to a runner',
    async (name) => {
      const { wire, peer, messages } = await openGreeted();
      wire.send({ case: name, value: { token: TOKEN } } as Parameters<Wire['send']>[0]);
      expect(await peer.closed).toMatchObject({ kind: 'protocol-error', message: `${name} from the wrong side` });
      expect(messages).toEqual([]);
    },
  );

  it.each(['invoke', 'putBundle', 'attach', 'pause', 'resume', 'cancel', 'resultAck', 'hostReply', 'leave'] as const)(
    'from the wrong side close the connection: %s to a caller',
    async (name) => {
      const { wire, peer } = await openGreeted({ side: 'caller', role: 'engine', accepts: ['host'] });
      wire.send({ case: name, value: { token: TOKEN } } as Parameters<Wire['send']>[0]);
      expect(await peer.closed).toMatchObject({ kind: 'protocol-error', message: `${name} from the wrong side` });
    },
  );

  it.each([
    ['an empty message', Buffer.from([0, 0, 0, 2, 0x98, 0x06])],
    ['a message of an unknown number', Buffer.from([0, 0, 0, 3, 0xfa, 0x07, 0x00])],
    ['bytes that are no message', Buffer.from([0, 0, 0, 3, 0xff, 0xff, 0xff])],
    ['a frame of length 0', Buffer.from([0, 0, 0, 0])],
  ])('that are %s close the connection', async (_, bytes) => {
    const { wire, peer } = await openGreeted();
    wire.raw(bytes);
    expect(await peer.closed).toMatchObject({ kind: 'protocol-error' });
  });

  it('with a token that is not 16 bytes close the connection', async () => {
    const { wire, peer } = await openGreeted();
    wire.send({ case: 'pause', value: { token: Buffer.alloc(15) } });
    expect(await peer.closed).toMatchObject({ message: 'pause with a token of 15 bytes' });
  });

  it('are handed over in order, and none after the end', async () => {
    const { wire, peer, messages } = await openGreeted();
    wire.send(
      { case: 'pause', value: { token: TOKEN } },
      { case: 'resume', value: { token: TOKEN } },
      helloOf('engine'),
      { case: 'pause', value: { token: TOKEN } },
    );
    await peer.closed;
    expect(messages.map((message) => message.case)).toEqual(['pause', 'resume']);
  });

  it('that a handler cannot take close the connection and throw nowhere', async () => {
    const { wire, peer } = await openGreeted({
      onMessage: () => {
        throw new Error('a bug');
      },
    });
    wire.send({ case: 'pause', value: { token: TOKEN } });
    expect(await peer.closed).toEqual({ kind: 'failed', message: 'a handler failed: a bug' });
  });
});

describe('the end', () => {
  it('is told as ended when the other side ended between two frames', async () => {
    const { wire, peer } = await openGreeted();
    wire.end();
    expect(await peer.closed).toMatchObject({ kind: 'ended' });
  });

  it('is a broken protocol inside a frame', async () => {
    const { wire, peer } = await openGreeted();
    wire.raw(Buffer.from([0, 0, 1]));
    wire.end();
    expect(await peer.closed).toMatchObject({ kind: 'protocol-error', message: 'the stream ended inside a frame' });
  });

  it('lets what was sent before leave, and answers nothing afterwards', async () => {
    const { wire, peer } = await openGreeted();
    peer.send({ case: 'started', value: { token: TOKEN } });
    peer.close('done');
    peer.close('again');
    expect(peer.send({ case: 'started', value: { token: TOKEN } })).toBe('closed');
    expect(await peer.closed).toEqual({ kind: 'closed', message: 'done' });
    await wire.next('started');
    expect(wire.all('started')).toHaveLength(1);
  });

  it('sends nothing before the other side has said Hello', () => {
    const { peer } = open();
    expect(peer.send({ case: 'started', value: { token: TOKEN } })).toBe('closed');
    peer.close('done');
  });
});

describe('ping', () => {
  it('is answered', async () => {
    const { wire } = await openGreeted();
    wire.send({ case: 'ping', value: { id: 42 } });
    expect(await wire.next('pong')).toMatchObject({ id: 42 });
  });

  it('calls back once for its own pong; others are counted', async () => {
    const { wire, peer } = await openGreeted();
    const onPong = vi.fn();
    peer.ping(onPong);
    const { id } = await wire.next('ping');
    wire.send(
      { case: 'pong', value: { id: id + 1 } },
      { case: 'pong', value: { id } },
      { case: 'pong', value: { id } },
    );
    wire.send({ case: 'ping', value: { id: 1 } });
    await wire.next('pong');
    expect(onPong).toHaveBeenCalledOnce();
    expect(peer.counters.foreign).toBe(2);
  });
});

describe('the window', () => {
  const log = (bytes: number) => ({ case: 'log', value: { token: TOKEN, message: 'x'.repeat(bytes) } }) as const;

  it('holds windowed frames back until Credit comes, while control frames pass', async () => {
    const { wire, peer } = open();
    wire.send(helloOf('engine', { maxFrameBytes: 2 * MIB, windowBytes: 4 * MIB }));
    await wire.next('hello');
    await vi.waitUntil(() => peer.isOpen);
    const sent = Array.from({ length: 6 }, () => peer.send(log(MIB)));
    expect(sent).toEqual(['sent', 'sent', 'sent', 'queued', 'queued', 'queued']);
    expect(peer.send({ case: 'started', value: { token: TOKEN } })).toBe('sent');
    await wire.next('started');
    expect(wire.all('log')).toHaveLength(3);
    const drained = peer.drained();
    wire.send({ case: 'credit', value: { bytes: 3 * MIB } });
    await wire.next('log', 5);
    expect(await drained).toBe(true);
  });

  it('is given back as frames are handled', async () => {
    const { wire, peer } = await openGreeted({ maxFrameBytes: 2 * MIB, windowBytes: 4 * MIB });
    for (let i = 0; i < 20; i++) wire.send({ case: 'invoke', value: { token: TOKEN, inputsJson: Buffer.alloc(MIB) } });
    wire.send({ case: 'ping', value: { id: 1 } });
    // The wire ignores the rule; it is the peer that must have kept up.
    await Promise.race([wire.next('pong'), peer.closed]);
    const credited = wire.all('credit').reduce((sum, { bytes }) => sum + bytes, 0);
    expect(credited).toBeGreaterThanOrEqual(19 * MIB);
    expect(peer.isOpen).toBe(true);
  });

  it('is not given back before a slow handler is done; who sends on is cut off', async () => {
    const { wire, peer } = await openGreeted({
      maxFrameBytes: 2 * MIB,
      windowBytes: 4 * MIB,
      onMessage: () => new Promise<void>(() => {}),
    });
    for (let i = 0; i < 5; i++) wire.send({ case: 'invoke', value: { token: TOKEN, inputsJson: Buffer.alloc(MIB) } });
    expect(await peer.closed).toMatchObject({ kind: 'protocol-error', message: 'sent more than the window allows' });
  });

  it('cannot be widened by Credit for what was never sent', async () => {
    const { wire, peer } = await openGreeted();
    wire.send({ case: 'credit', value: { bytes: 1 } });
    expect(await peer.closed).toMatchObject({ message: 'gave back more Credit than was used' });
  });

  it('bounds what a peer that never grants Credit can make us hold', async () => {
    const { wire, peer } = open();
    wire.send(helloOf('engine', { maxFrameBytes: 2 * MIB, windowBytes: 4 * MIB }));
    await vi.waitUntil(() => peer.isOpen);
    let frames = 0;
    while (peer.send(log(MIB)) !== 'closed') frames++;
    expect(frames).toBeLessThan(70);
    expect(await peer.closed).toMatchObject({
      kind: 'protocol-error',
      message: expect.stringMatching(/does not read/),
    });
  });

  it('bounds what a peer that never reads control frames can make us hold', async () => {
    const { wire, peer } = await openGreeted();
    wire.pause();
    let frames = 0;
    while (peer.send({ case: 'needBundle', value: { digest: 'd'.repeat(100_000) } }) !== 'closed') frames++;
    // Twice the window of 32 MiB and some slack.
    expect(frames).toBeLessThan(750);
    expect(await peer.closed).toMatchObject({
      kind: 'protocol-error',
      message: expect.stringMatching(/does not read/),
    });
  });

  it('refuses a frame that the other side would not read, and stays open', async () => {
    const { wire, peer } = open();
    wire.send(helloOf('engine', { maxFrameBytes: 2 * MIB, windowBytes: 4 * MIB }));
    await vi.waitUntil(() => peer.isOpen);
    expect(peer.send(log(2 * MIB))).toBe('too-large');
    expect(peer.isOpen).toBe(true);
  });
});
