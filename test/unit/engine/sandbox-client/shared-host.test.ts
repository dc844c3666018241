import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SharedHost } from '../../../../engine/sandbox-client/shared-host.ts';
import type { AttemptOutcome } from '../../../../proto/attempt.ts';
import { handMadeStep } from '../../../support/hand-made-step.ts';
import { HandConnection, ticks } from './hand-driven-connection.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function makeHost() {
  const connection = new HandConnection();
  const onForgettable = vi.fn();
  const host = new SharedHost({ connection, leaseMs: 9_000, onForgettable });
  const onStarted = vi.fn();
  const attempt = host.run(handMadeStep('x'), { onStarted });
  const told: AttemptOutcome[] = [];
  void attempt.outcome.then((outcome) => told.push(outcome));
  return { connection, host, attempt, told, onStarted, onForgettable, inner: () => connection.attempts.at(-1) };
}

/** Of the lease of 1 s, the margin of 1 s, since we answered last. */
const LEASE_OVER_MS = 2_000;

describe('an attempt at a shared host', () => {
  it('ends with the result of its host and is acknowledged there', async () => {
    const { attempt, told, inner, host } = makeHost();
    attempt.pause();
    attempt.resume();
    attempt.cancel({ graceMs: 1, reason: 'because' });
    inner()?.complete();
    await ticks();
    expect(told).toMatchObject([{ status: 'COMPLETED' }]);
    attempt.acknowledge();
    expect(inner()?.calls).toEqual(['pause', 'resume', 'cancel because', 'acknowledge']);
    expect(host.size).toBe(0);
  });

  it('goes on when its host is reached again within the lease, and its start is told once', async () => {
    const { connection, host, attempt, told, onStarted, inner } = makeHost();
    inner()?.listener.onStarted?.();
    await connection.cut();
    vi.advanceTimersByTime(LEASE_OVER_MS - 1);
    const again = new HandConnection();
    again.attachable = 'running';
    host.connect(again);
    await ticks();
    again.attempts[0]?.listener.onStarted?.();
    vi.advanceTimersByTime(60_000);
    await ticks();
    expect([told, host.size]).toEqual([[], 1]);
    again.attempts[0]?.complete();
    await ticks();
    expect(told).toMatchObject([{ status: 'COMPLETED' }]);
    attempt.acknowledge();
    expect(again.attempts[0]?.calls).toEqual(['acknowledge']);
    expect(onStarted).toHaveBeenCalledOnce();
  });

  it('is lost when the lease is over, with what is left of the time that a host that hangs may let it run', async () => {
    const { connection, told, onForgettable } = makeHost();
    await connection.cut(30_000);
    vi.advanceTimersByTime(LEASE_OVER_MS - 1);
    await ticks();
    expect([told, onForgettable.mock.calls.length]).toEqual([[], 0]);
    vi.advanceTimersByTime(1);
    await ticks();
    expect(told).toMatchObject([{ status: 'LOST', aliveForMs: 28_000, hostEnded: false }]);
    expect(onForgettable).toHaveBeenCalled();
  });

  it('is lost at once where nothing of it can run', async () => {
    const { connection, told } = makeHost();
    await connection.cut(0);
    expect(told).toMatchObject([{ status: 'LOST', aliveForMs: 0, hostEnded: false }]);
  });

  it("is lost, proven and with the host's end to blame, when the process of its host is known to have ended", async () => {
    const { connection, host, told } = makeHost();
    await connection.cut();
    host.ended();
    await ticks();
    expect(told).toMatchObject([{ status: 'LOST', aliveForMs: 0, hostEnded: true }]);
  });

  it.each([
    ['unknown', { aliveForMs: 0 }],
    ['refused', { aliveForMs: 29_500 }],
  ] as const)('that its host calls %s afterwards is lost', async (attachable, expected) => {
    const { connection, host, told } = makeHost();
    await connection.cut(30_000);
    vi.advanceTimersByTime(500);
    const again = new HandConnection();
    again.attachable = attachable;
    host.connect(again);
    await ticks();
    expect(told).toMatchObject([{ status: 'LOST', hostEnded: false, ...expected }]);
  });

  it('stays adrift when the host is lost again before it answers', async () => {
    const { connection, host, told } = makeHost();
    await connection.cut();
    const again = new HandConnection();
    again.attachable = 'lost';
    host.connect(again);
    await ticks();
    expect(told).toEqual([]);
    const third = new HandConnection();
    third.attachable = 'ended';
    host.connect(third);
    await ticks();
    third.attempts[0]?.complete();
    await ticks();
    expect(told).toMatchObject([{ status: 'COMPLETED' }]);
  });

  it('that was cancelled while adrift is cancelled when its host is reached', async () => {
    const { connection, host, attempt } = makeHost();
    await connection.cut();
    attempt.cancel({ graceMs: 5, reason: 'stop' });
    const again = new HandConnection();
    again.attachable = 'running';
    host.connect(again);
    await ticks();
    expect(again.attempts[0]?.calls).toEqual(['cancel stop']);
  });

  it('that is left is not asked for again, and nothing is told of it', async () => {
    const { connection, host, attempt, told, inner } = makeHost();
    attempt.leave();
    attempt.leave();
    expect(inner()?.calls).toEqual(['leave']);
    await connection.cut();
    const again = new HandConnection();
    again.attachable = 'running';
    host.connect(again);
    vi.advanceTimersByTime(60_000);
    await ticks();
    expect([told, again.attempts.length]).toEqual([[], 0]);
  });

  it('that is left while its host is asked for it is left there too', async () => {
    const { connection, host, attempt } = makeHost();
    await connection.cut();
    const again = new HandConnection();
    again.attachable = 'running';
    host.connect(again);
    attempt.leave();
    await ticks();
    expect(again.attempts[0]?.calls).toEqual(['leave']);
  });

  it('that another engine began is attached to like one of our own', async () => {
    const { connection, host } = makeHost();
    connection.attachable = 'running';
    const attached = await host.attach(handMadeStep('y'), {});
    if (attached.state !== 'running') throw new Error(attached.state);
    expect(host.size).toBe(2);
    await connection.cut();
    const again = new HandConnection();
    again.attachable = 'running';
    host.connect(again);
    await ticks();
    expect(again.attempts).toHaveLength(2);
    connection.attachable = 'unknown';
  });
});

describe('a shared host', () => {
  it('is the busier, the more of everybody it has for each of its cores', () => {
    const { connection, host } = makeHost();
    expect(host.pressure).toBe(1); // ours and the next on two cores
    connection.presence.tellLoad(7);
    expect(host.pressure).toBe(4);
    connection.presence.tellLoad(0); // told before ours came there
    expect(host.pressure).toBe(1);
  });

  it('counts what it was chosen for before it is given, until it tells its load again', () => {
    const { connection, host } = makeHost();
    host.promise();
    host.promise();
    expect(host.pressure).toBe(2);
    host.run(handMadeStep('x'), {});
    expect(host.pressure).toBe(2);
    connection.presence.tellLoad(2);
    expect(host.pressure).toBe(1.5);
  });

  it('has no room when it drains, is full or is not connected', async () => {
    const { connection, host } = makeHost();
    expect(host.hasRoom).toBe(true);
    for (let index = 0; index < 9; index++) host.run(handMadeStep('x'), {});
    expect(host.hasRoom).toBe(false);
    connection.attempts[0]?.complete();
    await ticks();
    expect(host.hasRoom).toBe(true);
    connection.presence.drain();
    expect([host.hasRoom, host.isDraining]).toEqual([false, true]);
    await connection.cut();
    expect([host.hasRoom, host.isConnected]).toEqual([false, false]);
  });
});
