import { describe, expect, it, vi } from 'vitest';
import type { AttemptRequest, LogLine } from '../../../proto/attempt.ts';
import type { BundleResult } from '../../../proto/plugin-source.ts';
import { AttachReply_State, Purpose, Status } from '../../../proto/sandbox_pb.js';
import { type ConnectOptions, connectSandboxHost } from '../../../proto/sandbox-client.ts';
import { helloOf, MIB, Wire } from '../../fixtures/sandbox/wire.ts';

const TOKEN = '0123456789abcdef0123456789abcdef';
const TOKEN_BYTES = Buffer.from(TOKEN, 'hex');
const OTHER = Buffer.alloc(16, 9);
const DIGEST = `sha256:${'a'.repeat(64)}`;

function request(changes: Partial<AttemptRequest> = {}): AttemptRequest {
  return {
    token: TOKEN,
    purpose: 'run',
    flowId: 'f',
    runId: 'r',
    stepId: 's',
    attempt: 1,
    epoch: 5,
    pluginId: 'p',
    pluginVersion: '1.0.0',
    digest: DIGEST,
    inputsJson: '{"a":1}',
    idempotencyKey: 'f/r/s',
    bundle: () => Promise.resolve({ ok: true, bundle: { digest: DIGEST, bytes: Buffer.alloc(10, 1) } }),
    ...changes,
  };
}

async function connect(hello: Record<string, unknown> = {}, options: Partial<ConnectOptions> = {}) {
  const wire = new Wire();
  const onClose = vi.fn(async () => {});
  const given = { role: 'engine', instance: 'engine-1', onClose, ...options } as const;
  const connecting = connectSandboxHost({ stream: wire.far, ...given });
  wire.send(helloOf('host', { instance: 'host-1', maxAttempts: 4, ...hello }));
  const connected = await connecting;
  if (!connected.ok) throw new Error(connected.message);
  return { wire, host: connected.host, onClose };
}

describe('a connection to a sandbox host', () => {
  it('tells who the host is', async () => {
    const { host } = await connect();
    expect([host.instance, host.maxAttempts]).toEqual(['host-1', 4]);
  });

  it('is refused with a code when the other side is no host', async () => {
    const wire = new Wire();
    const connecting = connectSandboxHost({ stream: wire.far, role: 'engine', instance: 'e' });
    wire.send(helloOf('engine'));
    expect(await connecting).toMatchObject({ ok: false, code: 'PROTOCOL_ERROR' });
  });

  it('is refused with a code when the other side goes away', async () => {
    const wire = new Wire();
    const connecting = connectSandboxHost({ stream: wire.far, role: 'engine', instance: 'e' });
    wire.end();
    expect(await connecting).toMatchObject({ ok: false, code: 'SANDBOX_UNAVAILABLE' });
  });

  it('can be given up before it stands', async () => {
    const wire = new Wire();
    const controller = new AbortController();
    const connecting = connectSandboxHost({ stream: wire.far, role: 'cli', instance: 'e', signal: controller.signal });
    controller.abort();
    expect(await connecting).toMatchObject({ ok: false });
  });

  it('closes once, and then ends what is behind it', async () => {
    const { host, onClose } = await connect();
    await Promise.all([host.close(), host.close()]);
    expect(onClose).toHaveBeenCalledOnce();
    expect(await host.closed).toEqual({ reason: 'closed by its owner' });
  });
});

describe('an attempt', () => {
  it('sends everything that was asked and gives outputs and receipt back', async () => {
    const { wire, host } = await connect();
    const started = vi.fn();
    const lines: LogLine[] = [];
    const attempt = host.run(request({ purpose: 'inspect', requestedWallMs: 50, requestedTier: 'isolate' }), {
      onStarted: started,
      onLog: (line) => lines.push(line),
    });
    const invoke = await wire.next('invoke');
    expect(invoke).toMatchObject({
      purpose: Purpose.INSPECT,
      epoch: 5n,
      requestedWallMs: 50,
      requestedTier: 'isolate',
    });
    expect(Buffer.from(invoke.token).toString('hex')).toBe(TOKEN);
    expect(Buffer.from(invoke.inputsJson).toString()).toBe('{"a":1}');
    wire.send(
      { case: 'started', value: { token: TOKEN_BYTES } },
      {
        case: 'log',
        value: { token: TOKEN_BYTES, level: 'warn', message: 'm', fieldsJson: Buffer.from('{"k":1}'), timeMs: 7n },
      },
      { case: 'result', value: { token: TOKEN_BYTES, status: Status.COMPLETED, outputsJson: Buffer.from('{"x":2}') } },
    );
    expect(await attempt.outcome).toEqual({ status: 'COMPLETED', outputsJson: '{"x":2}', receipt: null });
    expect(started).toHaveBeenCalledOnce();
    expect(lines).toEqual([{ timeMs: 7, level: 'warn', message: 'm', fields: { k: 1 } }]);
    attempt.acknowledge();
    attempt.acknowledge();
    await wire.next('resultAck');
    expect(wire.all('resultAck')).toHaveLength(1);
  });

  it.each([
    ['not JSON', '{', /cannot be read/],
    ['no object', '[1]', /not one JSON object/],
    ['a key named __proto__', '{"__proto__":{}}', /__proto__/],
    ['too deep', `{"a":${'['.repeat(100)}${']'.repeat(100)}}`, /deeper/],
  ])('whose outputs are %s fails with OUTPUT_INVALID', async (_, outputs, problem) => {
    const { wire, host } = await connect();
    const attempt = host.run(request(), {});
    const value = { token: TOKEN_BYTES, status: Status.COMPLETED, outputsJson: Buffer.from(outputs) };
    wire.send({ case: 'result', value });
    expect(await attempt.outcome).toMatchObject({ code: 'OUTPUT_INVALID', message: expect.stringMatching(problem) });
  });

  it('fails with the code, the stack and what was said about a retry', async () => {
    const { wire, host } = await connect();
    const attempt = host.run(request(), {});
    const value = {
      token: TOKEN_BYTES,
      status: Status.FAILED,
      code: 'PLUGIN_FATAL',
      message: 'no',
      stack: 'at a',
      notRetryable: true,
    };
    wire.send({ case: 'result', value: { ...value, retryAfterMs: 9 } });
    expect(await attempt.outcome).toMatchObject({
      status: 'FAILED',
      code: 'PLUGIN_FATAL',
      stack: 'at a',
      retryable: false,
      retryAfterMs: 9,
    });
  });

  it('with a result of an unknown code or status is a protocol error, not an exception', async () => {
    const { wire, host } = await connect();
    const first = host.run(request(), {});
    wire.send({ case: 'result', value: { token: TOKEN_BYTES, status: Status.FAILED, code: 'toString' } });
    expect(await first.outcome).toMatchObject({ code: 'PROTOCOL_ERROR' });
    const second = host.run(request({ token: OTHER.toString('hex') }), {});
    wire.send({ case: 'result', value: { token: OTHER, status: 77 as Status } });
    expect(await second.outcome).toMatchObject({ code: 'PROTOCOL_ERROR' });
  });

  it('is LOST only when the process behind the connection is gone', async () => {
    const { wire, host, onClose } = await connect();
    const gone = Promise.withResolvers<void>();
    onClose.mockImplementation(() => gone.promise);
    const attempt = host.run(request(), {});
    const told: string[] = [];
    const outcome = attempt.outcome.then(({ status }) => told.push(status));
    wire.end();
    await host.closed;
    await vi.waitFor(() => expect(onClose).toHaveBeenCalledOnce());
    expect(told).toEqual([]);
    gone.resolve();
    await outcome;
    expect(told).toEqual(['LOST']);
  });

  it('is LOST with every other one when the connection ends', async () => {
    const { wire, host } = await connect();
    const attempts = [host.run(request(), {}), host.run(request({ token: OTHER.toString('hex') }), {})];
    wire.end();
    for (const attempt of attempts) expect(await attempt.outcome).toMatchObject({ status: 'LOST' });
    const late = host.run(request({ token: 'f'.repeat(32) }), {});
    expect(await late.outcome).toMatchObject({ status: 'LOST' });
  });

  it('whose inputs are larger than the host reads fails without harm to the connection', async () => {
    const { host } = await connect({ maxFrameBytes: 2 * MIB, windowBytes: 4 * MIB });
    const attempt = host.run(request({ inputsJson: JSON.stringify({ a: 'x'.repeat(3 * MIB) }) }), {});
    expect(await attempt.outcome).toMatchObject({ code: 'INPUT_INVALID' });
  });

  it('passes cancel, pause and resume on while it runs, and nothing afterwards', async () => {
    const { wire, host } = await connect();
    const attempt = host.run(request(), {});
    attempt.pause();
    attempt.resume();
    attempt.cancel({ graceMs: 5, reason: 'because' });
    expect(await wire.next('cancel')).toMatchObject({ graceMs: 5, reason: 'because', epoch: 5n });
    wire.send({ case: 'result', value: { token: TOKEN_BYTES, status: Status.CANCELLED, message: 'stopped' } });
    expect(await attempt.outcome).toEqual({ status: 'CANCELLED', message: 'stopped', receipt: null });
    attempt.pause();
    attempt.cancel({ graceMs: 5, reason: 'again' });
    wire.send({ case: 'ping', value: { id: 1 } });
    await wire.next('pong');
    expect([wire.all('pause').length, wire.all('resume').length, wire.all('cancel').length]).toEqual([1, 1, 1]);
  });

  it('that is cancelled before the host had room for it never goes there', async () => {
    const { wire, host } = await connect({ maxFrameBytes: 2 * MIB, windowBytes: 4 * MIB });
    const inputsJson = JSON.stringify({ a: 'x'.repeat(1.5 * MIB) });
    const attempts = Array.from({ length: 4 }, (_, i) =>
      host.run(request({ token: Buffer.alloc(16, 50 + i).toString('hex'), inputsJson }), {}),
    );
    await wire.next('invoke', 1);
    attempts[2]?.pause();
    attempts[2]?.cancel({ graceMs: 5, reason: 'because' });
    expect(await attempts[2]?.outcome).toEqual({ status: 'CANCELLED', message: 'because', receipt: null });
    attempts[2]?.acknowledge();
    wire.send({ case: 'credit', value: { bytes: 3 * MIB } });
    await wire.next('invoke', 2);
    wire.send({ case: 'ping', value: { id: 1 } });
    await wire.next('pong');
    expect(wire.all('invoke').map(({ token }) => token[0])).toEqual([50, 51, 53]);
    expect([wire.all('cancel').length, wire.all('pause').length, wire.all('resultAck').length]).toEqual([0, 0, 0]);
  });

  it('drops and counts frames about foreign and ended attempts, and second results', async () => {
    const { wire, host } = await connect();
    const onLog = vi.fn();
    const attempt = host.run(request(), { onLog });
    const result = { case: 'result', value: { token: TOKEN_BYTES, status: Status.CANCELLED } } as const;
    wire.send({ case: 'log', value: { token: OTHER } }, result, result, { case: 'log', value: { token: TOKEN_BYTES } });
    await attempt.outcome;
    wire.send({ case: 'ping', value: { id: 1 } });
    await wire.next('pong');
    expect(onLog).not.toHaveBeenCalled();
    expect(host.counters).toMatchObject({ foreign: 1, late: 2 });
  });
});

describe('a signature', () => {
  it('goes with each attempt, and an unsigned attempt has none', async () => {
    const { wire, host } = await connect();
    host.run(request({ signature: 'sig' }), {});
    host.run(request({ token: OTHER.toString('hex') }), {});
    await wire.next('invoke', 1);
    expect(wire.all('invoke').map((invoke) => invoke.signature)).toEqual(['sig', '']);
  });
});

describe('a bundle', () => {
  it('is read once for all attempts that wait, and sent in pieces of at most 1 MiB', async () => {
    const { wire, host } = await connect();
    const bytes = Buffer.alloc(2.5 * MIB, 3);
    const read = Promise.withResolvers<BundleResult>();
    const bundle = vi.fn(() => read.promise);
    host.run(request({ bundle }), {});
    host.run(request({ bundle, token: OTHER.toString('hex') }), {});
    wire.send({ case: 'needBundle', value: { digest: DIGEST } }, { case: 'needBundle', value: { digest: DIGEST } });
    wire.send({ case: 'ping', value: { id: 1 } });
    await wire.next('pong');
    read.resolve({ ok: true, bundle: { digest: DIGEST, bytes } });
    await wire.next('putBundle', 2);
    const pieces = wire.all('putBundle');
    expect(bundle).toHaveBeenCalledOnce();
    expect(pieces.map((piece) => Number(piece.offset))).toEqual([0, MIB, 2 * MIB]);
    expect(pieces.map((piece) => piece.data.length)).toEqual([MIB, MIB, MIB / 2]);
    expect(host.counters.duplicate).toBe(1);
  });

  it('that is missing is told with its code', async () => {
    const { wire, host } = await connect();
    host.run(request({ bundle: async () => ({ ok: false, code: 'PLUGIN_NOT_FOUND', message: 'gone' }) }), {});
    wire.send({ case: 'needBundle', value: { digest: DIGEST } });
    expect(await wire.next('putBundle')).toMatchObject({ missing: 'gone', missingCode: 'PLUGIN_NOT_FOUND' });
  });

  it('whose source throws is told as unavailable', async () => {
    const { wire, host } = await connect();
    host.run(request({ bundle: () => Promise.reject(new Error('disk')) }), {});
    wire.send({ case: 'needBundle', value: { digest: DIGEST } });
    expect(await wire.next('putBundle')).toMatchObject({ missingCode: 'SANDBOX_UNAVAILABLE' });
  });

  it('that no attempt here named is not given', async () => {
    const { wire, host } = await connect();
    host.run(request(), {});
    wire.send({ case: 'needBundle', value: { digest: 'sha256:other' } }, { case: 'ping', value: { id: 1 } });
    await wire.next('pong');
    expect(wire.all('putBundle')).toEqual([]);
    expect(host.counters.foreign).toBe(1);
  });

  it('is read only when there is room for it, whatever the host asks for', async () => {
    const { wire, host } = await connect({ maxFrameBytes: 2 * MIB, windowBytes: 4 * MIB });
    const bytes = Buffer.alloc(6 * MIB, 3);
    const read: string[] = [];
    for (let i = 0; i < 20; i++) {
      const digest = `sha256:${i}`;
      const bundle = async () => {
        read.push(digest);
        return { ok: true, bundle: { digest, bytes } } as const;
      };
      host.run(request({ token: Buffer.alloc(16, 100 + i).toString('hex'), digest, bundle }), {});
      wire.send({ case: 'needBundle', value: { digest } });
    }
    wire.send({ case: 'ping', value: { id: 1 } });
    await wire.next('pong');
    expect(read).toHaveLength(2);
    for (let piece = 3; piece < 12; piece += 3) {
      await wire.next('putBundle', piece - 1);
      wire.send({ case: 'credit', value: { bytes: 3 * MIB } });
    }
    await wire.next('putBundle', 11);
    expect(read.length).toBeLessThanOrEqual(4);
    // One bundle after the other.
    const digests = wire.all('putBundle').map((piece) => piece.digest);
    expect(digests.slice(0, 12)).toEqual([...Array(6).fill('sha256:0'), ...Array(6).fill('sha256:1')]);
  });

  it('does not run ahead of a host that takes no more', async () => {
    const { wire, host } = await connect({ maxFrameBytes: 2 * MIB, windowBytes: 4 * MIB });
    const bytes = Buffer.alloc(10 * MIB, 3);
    host.run(request({ bundle: async () => ({ ok: true, bundle: { digest: DIGEST, bytes } }) }), {});
    wire.send({ case: 'needBundle', value: { digest: DIGEST } });
    await wire.next('putBundle', 2);
    wire.send({ case: 'ping', value: { id: 1 } });
    await wire.next('pong');
    expect(wire.all('putBundle').length).toBeLessThanOrEqual(4);
    wire.send({ case: 'credit', value: { bytes: 3 * MIB } });
    await wire.next('putBundle', 5);
  });
});

describe('a host that is shared', () => {
  const shared = { isShared: true };

  it('tells its lease, its cores and who has ended', async () => {
    const told = { leaseMs: 9_000, cores: 4, endedInstances: ['host-old'] };
    const { host } = await connect(told, shared);
    expect(host).toMatchObject({ ...told, isShared: true });
    await host.close();
  });

  it('that is lost says of each attempt how long it may still run there', async () => {
    const { wire, host } = await connect({}, shared);
    const untold = Array.from({ length: 2 }, (_, index) => Buffer.alloc(16, 30 + index).toString('hex'));
    const [started, sent] = untold.map((token) => host.run(request({ token, requestedWallMs: 90_000 }), {}));
    await wire.next('invoke', 1);
    wire.send({ case: 'started', value: { token: Buffer.alloc(16, 30), wallMs: 20_000 } });
    wire.send({ case: 'ping', value: { id: 1 } });
    await wire.next('pong');
    wire.end();
    const lost = [await started?.outcome, await sent?.outcome];
    const alive = lost.map((outcome) => (outcome?.status === 'LOST' ? outcome.aliveForMs : Number.NaN));
    expect(alive[0]).toBeGreaterThan(15_000);
    expect(alive[0]).toBeLessThan(25_000);
    // It may have begun without a word: as long as was asked for.
    expect(alive[1]).toBe(90_000);
    expect(lost).toMatchObject([{ hostEnded: false }, { hostEnded: false }]);
  });

  it('never had what it was never sent', async () => {
    const { wire, host } = await connect({ maxFrameBytes: 2 * MIB, windowBytes: 4 * MIB }, shared);
    const inputsJson = JSON.stringify({ a: 'x'.repeat(1.5 * MIB) });
    const attempts = Array.from({ length: 4 }, (_, index) =>
      host.run(request({ token: Buffer.alloc(16, 50 + index).toString('hex'), inputsJson }), {}),
    );
    await wire.next('invoke', 1);
    wire.end();
    expect(await attempts[3]?.outcome).toMatchObject({ status: 'LOST', aliveForMs: 0 });
    expect(await host.run(request(), {}).outcome).toMatchObject({ status: 'LOST', aliveForMs: 0, hostEnded: false });
  });

  it('is told that an attempt is left, if it understands that, and nothing of it is told any more', async () => {
    const { wire, host } = await connect({ capabilities: ['leave'] }, shared);
    const onLog = vi.fn();
    const attempt = host.run(request(), { onLog });
    await wire.next('invoke');
    attempt.leave();
    attempt.leave();
    attempt.cancel({ graceMs: 0, reason: 'too late' });
    await wire.next('leave');
    wire.send({ case: 'log', value: { token: TOKEN_BYTES } }, { case: 'ping', value: { id: 1 } });
    await wire.next('pong');
    expect([wire.all('leave').length, wire.all('cancel').length, onLog.mock.calls.length]).toEqual([1, 0, 0]);
    const old = await connect({}, shared);
    old.host.run(request(), {}).leave();
    old.wire.send({ case: 'ping', value: { id: 1 } });
    await old.wire.next('pong');
    expect(old.wire.all('leave')).toEqual([]);
  });

  it('is answered only while the engine stands by its attempts, and hears that it drains', async () => {
    let isGood = true;
    const { wire, host } = await connect({}, { ...shared, vouches: () => isGood });
    wire.send({ case: 'ping', value: { id: 1, load: 5 } });
    await wire.next('pong');
    expect([host.presence.load, host.presence.isDraining]).toEqual([5, false]);
    isGood = false;
    const draining = Promise.withResolvers<void>();
    host.presence.onDraining(draining.resolve);
    wire.send({ case: 'ping', value: { id: 2, load: 6 } }, { case: 'draining', value: {} });
    await draining.promise;
    isGood = true;
    wire.send({ case: 'ping', value: { id: 3, load: 7 } });
    await wire.next('pong', 1);
    expect(wire.all('pong').map(({ id }) => id)).toEqual([1, 3]);
    expect(host.presence.isDraining).toBe(true);
  });
});

describe('attach', () => {
  const run = { token: TOKEN, flowId: 'f', runId: 'r', epoch: 6 };

  it.each([
    [AttachReply_State.UNKNOWN, 'unknown'],
    [AttachReply_State.REFUSED, 'refused'],
  ])('answers %s as %s', async (state, expected) => {
    const { wire, host } = await connect();
    const attaching = host.attach(run, {});
    expect(await wire.next('attach')).toMatchObject({ flowId: 'f', runId: 'r', epoch: 6n });
    wire.send({ case: 'attachReply', value: { token: TOKEN_BYTES, state } });
    expect(await attaching).toEqual({ state: expected });
  });

  it('gives the attempt of a running or ended one, whose result follows', async () => {
    const { wire, host } = await connect();
    const attaching = host.attach(run, {});
    await wire.next('attach');
    wire.send(
      { case: 'attachReply', value: { token: TOKEN_BYTES, state: AttachReply_State.ENDED } },
      { case: 'result', value: { token: TOKEN_BYTES, status: Status.COMPLETED, outputsJson: Buffer.from('{}') } },
    );
    const attached = await attaching;
    if (attached.state !== 'ended') throw new Error(attached.state);
    expect(await attached.attempt.outcome).toMatchObject({ status: 'COMPLETED' });
  });

  it('is lost, and not unknown, when the connection ends first', async () => {
    const { wire, host } = await connect();
    const attaching = host.attach(run, {});
    wire.end();
    expect(await attaching).toEqual({ state: 'lost' });
  });
});
