import { afterEach, describe, expect, it, vi } from 'vitest';
import { digestOf } from '../../../proto/ids.ts';
import { AttachReply_State, Purpose, Status } from '../../../proto/sandbox_pb.js';
import { givenSecrets } from '../../../sandbox/host-calls/secret-source.ts';
import { MIB } from '../../fixtures/sandbox/wire.ts';

import { BUNDLE, DIGEST, invokeOf, LIMITS, makeHost, putOf, RUN, settle } from './hand-driven-host.ts';

afterEach(() => {
  vi.useRealTimers();
});

describe('an attempt at the host', () => {
  it('waits for its bundle, asks the policy, runs, and ends with a receipt', async () => {
    const { calls, asked, connect } = makeHost();
    const { wire } = await connect();
    wire.send(invokeOf({ pluginVersion: '1.2.0', requestedWallMs: 50, requestedTier: 'isolate' }));
    expect(await wire.next('needBundle')).toMatchObject({ digest: DIGEST });
    expect(calls).toEqual([]);
    wire.send(putOf(BUNDLE));
    await settle(wire, 1);
    expect(asked).toMatchObject([
      {
        pluginId: 'acme.x',
        name: 'acme.x',
        version: '1.2.0',
        digest: DIGEST,
        publisher: undefined,
        requestedWallMs: 50,
        requestedTier: 'isolate',
      },
    ]);
    const [call] = calls;
    expect(call?.request).toMatchObject({
      limits: LIMITS,
      jail: 'required',
      rule: 'rule 1',
      purpose: 'run',
      allowWasm: false,
    });
    call?.events.onStarted();
    call?.events.onLog({ level: 'info', message: 'm', fieldsJson: new Uint8Array(0) });
    call?.end({ status: 'COMPLETED', outputsJson: Buffer.from('{"a":1}') });
    const result = await wire.next('result');
    expect(result).toMatchObject({ status: Status.COMPLETED, droppedLogLines: 4 });
    expect(JSON.parse(Buffer.from(result.receiptJson).toString())).toMatchObject({
      rule: 'rule 1',
      policyHash: 'sha256:p',
      bundleDigest: DIGEST,
      bytesIn: 2,
      bytesOut: 7,
    });
    expect(wire.all('started')).toHaveLength(1);
    expect(Number(wire.all('log')[0]?.timeMs)).toBeGreaterThan(1e12);
  });

  it('asks once for a bundle that several wait for, and not again for one it has', async () => {
    const { calls, connect } = makeHost();
    const { wire } = await connect();
    wire.send(invokeOf(), invokeOf());
    await settle(wire, 1);
    wire.send(putOf(BUNDLE), invokeOf());
    await settle(wire, 2);
    expect([wire.all('needBundle').length, calls.length]).toEqual([1, 3]);
  });

  it('asks the policy for every attempt anew', async () => {
    const { asked, connect } = makeHost();
    const { wire } = await connect();
    wire.send(invokeOf());
    await wire.next('needBundle');
    wire.send(putOf(BUNDLE), invokeOf(), invokeOf());
    await settle(wire, 1);
    expect(asked).toHaveLength(3);
  });

  it('is inspected without asking the policy, with small fixed limits and no grants', async () => {
    const { calls, asked, connect } = makeHost({ decision: { kind: 'refuse', code: 'POLICY_DENIED', message: 'no' } });
    const { wire } = await connect();
    wire.send(invokeOf({ purpose: Purpose.INSPECT }));
    await wire.next('needBundle');
    wire.send(putOf(BUNDLE));
    await settle(wire, 1);
    expect(asked).toEqual([]);
    expect(calls[0]?.request).toMatchObject({
      purpose: 'inspect',
      jail: 'none',
      limits: { memoryMb: 64, wallMs: 5000, cpuMs: 2000, hostCalls: 0 },
    });
  });

  it.each([
    ['the policy refuses', { kind: 'refuse', code: 'POLICY_DENIED', message: 'retired' }, 'POLICY_DENIED', /retired/],
  ] as const)('ends when %s', async (_, decision, code, message) => {
    const { connect } = makeHost({ decision });
    const { wire } = await connect();
    wire.send(invokeOf());
    await wire.next('needBundle');
    wire.send(putOf(BUNDLE));
    expect(await wire.next('result')).toMatchObject({
      status: Status.FAILED,
      code,
      message: expect.stringMatching(message),
      notRetryable: true,
    });
  });

  it('ends when its bundle is of another version than was asked for', async () => {
    const { connect } = makeHost();
    const { wire } = await connect();
    wire.send(invokeOf({ pluginVersion: '9.9.9' }));
    await wire.next('needBundle');
    wire.send(putOf(BUNDLE));
    expect(await wire.next('result')).toMatchObject({
      code: 'PLUGIN_INVALID',
      message: expect.stringContaining('acme.x 1.2.0'),
    });
  });

  it('is invoked once: the same token again is dropped and counted', async () => {
    const { attempts, connect } = makeHost();
    const { wire } = await connect();
    const invoke = invokeOf();
    wire.send(invoke, invoke);
    await settle(wire, 1);
    expect([attempts.size, wire.all('needBundle').length, wire.all('result').length]).toEqual([1, 1, 0]);
  });

  it('keeps its result until it is acknowledged', async () => {
    const { attempts, calls, connect } = makeHost();
    const { wire } = await connect();
    const invoke = invokeOf();
    wire.send(invoke);
    await wire.next('needBundle');
    wire.send(putOf(BUNDLE));
    await settle(wire, 1);
    calls[0]?.end({ status: 'CANCELLED', message: 'x' });
    await wire.next('result');
    expect(attempts.size).toBe(1);
    wire.send({ case: 'resultAck', value: { token: invoke.value.token } });
    await settle(wire, 2);
    expect(attempts.size).toBe(0);
  });

  it('is cancelled at once while it waits for its bundle, and by its tier afterwards', async () => {
    const { calls, connect } = makeHost();
    const { wire } = await connect();
    const first = invokeOf();
    wire.send(first, { case: 'cancel', value: { token: first.value.token, epoch: 3n, graceMs: 9, reason: 'why' } });
    expect(await wire.next('result')).toMatchObject({ status: Status.CANCELLED, message: 'why' });
    const second = invokeOf();
    wire.send(putOf(BUNDLE), second, { case: 'pause', value: { token: second.value.token } });
    wire.send({ case: 'cancel', value: { token: second.value.token, epoch: 3n, graceMs: 9, reason: 'why' } });
    await settle(wire, 1);
    expect(calls[0]?.cancel).toHaveBeenCalledExactlyOnceWith({ graceMs: 9, reason: 'why' });
    expect(calls[0]?.pause).toHaveBeenCalledOnce();
  });
});

describe('epochs', () => {
  it('refuse what a former owner of the run sends', async () => {
    const { calls, connect } = makeHost();
    const { wire } = await connect();
    const invoke = invokeOf({ epoch: 7n });
    wire.send(invoke);
    await wire.next('needBundle');
    wire.send(putOf(BUNDLE), invokeOf({ epoch: 6n }));
    expect(await wire.next('result')).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: 'run r has a newer owner',
    });
    wire.send({ case: 'cancel', value: { token: invoke.value.token, epoch: 6n, graceMs: 0, reason: 'old' } });
    wire.send({ case: 'attach', value: { token: invoke.value.token, flowId: 'f', runId: 'r', epoch: 6n } });
    expect(await wire.next('attachReply')).toMatchObject({ state: AttachReply_State.REFUSED });
    expect(calls[0]?.cancel).not.toHaveBeenCalled();
  });

  it('are raised by an Attach to an attempt that is not known', async () => {
    const { connect } = makeHost();
    const { wire } = await connect();
    wire.send({ case: 'attach', value: { token: Buffer.alloc(16, 5), flowId: 'f', runId: 'r', epoch: 9n } });
    expect(await wire.next('attachReply')).toMatchObject({ state: AttachReply_State.UNKNOWN });
    wire.send(invokeOf({ epoch: 8n }));
    expect(await wire.next('result')).toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
  });
});

describe('a caller that leaves an attempt', () => {
  async function running() {
    const made = makeHost({ leaseMs: 500 });
    const { wire } = await made.connect();
    const invoke = invokeOf();
    wire.send(invoke);
    await wire.next('needBundle');
    wire.send(putOf(BUNDLE));
    await settle(wire, 1);
    made.calls[0]?.events.onStarted();
    return { ...made, wire, token: invoke.value.token };
  }

  it('hears nothing of it any more, and whoever attaches hears everything', async () => {
    const { calls, connect, wire, token } = await running();
    wire.send({ case: 'leave', value: { token } });
    await settle(wire, 2);
    calls[0]?.events.onLog({ level: 'info', message: 'for nobody', fieldsJson: new Uint8Array(0) });
    const other = (await connect()).wire;
    other.send({ case: 'attach', value: { token, flowId: 'f', runId: 'r', epoch: 4n } });
    expect(await other.next('attachReply')).toMatchObject({ state: AttachReply_State.RUNNING });
    calls[0]?.end({ status: 'COMPLETED', outputsJson: Buffer.from('{}') });
    expect(await other.next('result')).toMatchObject({ status: Status.COMPLETED, droppedLogLines: 5 });
    await settle(wire, 3);
    expect([wire.all('log').length, wire.all('result').length]).toEqual([0, 0]);
  });

  it('cannot leave what another owner has by then', async () => {
    const { attempts, connect, wire, token } = await running();
    const other = (await connect()).wire;
    other.send({ case: 'attach', value: { token, flowId: 'f', runId: 'r', epoch: 4n } });
    await other.next('attachReply');
    wire.send({ case: 'leave', value: { token } }, { case: 'leave', value: { token: Buffer.alloc(16, 77) } });
    await settle(wire, 2);
    expect(attempts.underWay).toBe(1);
    other.send({ case: 'cancel', value: { token, epoch: 4n, graceMs: 0, reason: 'mine' } });
    await settle(other, 3);
  });

  it('is told until when it may run: its wall limit, and what ending it takes', async () => {
    const { connect, wire, token } = await running();
    expect(await wire.next('started')).toMatchObject({
      wallMs: expect.toSatisfy((ms: number) => ms > 2_000 && ms < 10_000),
    });
    const other = (await connect()).wire;
    other.send({ case: 'attach', value: { token, flowId: 'f', runId: 'r', epoch: 4n } });
    const first = wire.all('started')[0]?.wallMs ?? 0;
    expect((await other.next('started')).wallMs).toBeLessThanOrEqual(first);
  });
});

describe('a host that is told to end', () => {
  it('says so to who understands it, takes nothing more, and is done when all is told and acknowledged', async () => {
    const { calls, attempts, host, connect } = makeHost();
    const { wire } = await connect({ capabilities: ['draining'] });
    const old = (await connect()).wire;
    const invoke = invokeOf();
    wire.send(invoke);
    await wire.next('needBundle');
    wire.send(putOf(BUNDLE));
    await settle(wire, 1);
    let isDone = false;
    const done = host.drain().then(() => {
      isDone = true;
    });
    await wire.next('draining');
    await settle(old, 1);
    expect(old.all('draining')).toEqual([]);
    wire.send(invokeOf());
    expect(await wire.next('result')).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('ending'),
    });
    const late = (await connect({ capabilities: ['draining'] })).wire;
    await late.next('draining');
    attempts.endAll('the host ends');
    expect(calls[0]?.cancel).toHaveBeenCalledExactlyOnceWith({ graceMs: 0, reason: 'the host ends' });
    calls[0]?.end({
      status: 'FAILED',
      code: 'PLUGIN_ERROR',
      message: 'aborted',
      stack: '',
      isRetryable: false,
      retryAfterMs: 0,
    });
    const result = await wire.next('result', 1);
    expect(result).toMatchObject({ code: 'SANDBOX_UNAVAILABLE', message: 'the host ends', notRetryable: false });
    expect(isDone).toBe(false);
    wire.send({ case: 'resultAck', value: { token: invoke.value.token } });
    await done;
  });
});

describe('an engine that is connected and answers nothing', () => {
  it('is cut off when its lease is over, and what it ran is ended', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
    const { calls, connect } = makeHost({ leaseMs: 500 });
    const { wire, ended } = await connect();
    wire.send(invokeOf());
    await wire.next('needBundle');
    wire.send(putOf(BUNDLE));
    await settle(wire, 1);
    vi.advanceTimersByTime(500);
    expect(await ended).toMatchObject({ message: 'it was not heard of for 500 ms' });
    vi.advanceTimersByTime(1);
    expect(calls[0]?.cancel).toHaveBeenCalledExactlyOnceWith({ graceMs: 0, reason: expect.stringContaining('lease') });
  });

  it('is not when it is a command, whose attempts nobody takes over', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
    const { connect } = makeHost({ leaseMs: 500 });
    const { wire } = await connect({ role: 'cli' });
    vi.advanceTimersByTime(5_000);
    await settle(wire, 1);
    expect(wire.all('ping')).toEqual([]);
  });
});

describe('a lost connection', () => {
  async function orphan(leaseMs: number) {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
    const made = makeHost({ leaseMs });
    const { wire, ended } = await made.connect();
    const invoke = invokeOf();
    wire.send(invoke);
    await wire.next('needBundle');
    wire.send(putOf(BUNDLE));
    await settle(wire, 1);
    made.calls[0]?.events.onStarted();
    wire.end();
    await ended;
    return { ...made, token: invoke.value.token };
  }

  it('leaves its attempts running for the lease and then ends them', async () => {
    const { calls } = await orphan(500);
    vi.advanceTimersByTime(499);
    expect(calls[0]?.cancel).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(calls[0]?.cancel).toHaveBeenCalledExactlyOnceWith({ graceMs: 0, reason: expect.stringContaining('lease') });
  });

  it('leaves its attempts for another engine, which hears of their start and their end', async () => {
    const { calls, connect, token } = await orphan(500);
    const { wire } = await connect();
    wire.send({ case: 'attach', value: { token, flowId: 'f', runId: 'r', epoch: 4n } });
    expect(await wire.next('attachReply')).toMatchObject({ state: AttachReply_State.RUNNING });
    await wire.next('started');
    for (let pings = 0; pings < 20; pings++) {
      vi.advanceTimersByTime(50);
      const { id } = await wire.next('ping', pings);
      wire.send({ case: 'pong', value: { id } });
      await settle(wire, 100 + pings);
    }
    expect(calls[0]?.cancel).not.toHaveBeenCalled();
    calls[0]?.end({ status: 'CANCELLED', message: 'done' });
    expect(await wire.next('result')).toMatchObject({ message: 'done' });
  });

  it('keeps the result of what ended meanwhile', async () => {
    const { calls, connect, token } = await orphan(500);
    calls[0]?.end({ status: 'COMPLETED', outputsJson: Buffer.from('{}') });
    const { wire } = await connect();
    await settle(wire, 1);
    wire.send({ case: 'attach', value: { token, flowId: 'f', runId: 'r', epoch: 4n } });
    expect(await wire.next('attachReply')).toMatchObject({ state: AttachReply_State.ENDED });
    expect(await wire.next('result')).toMatchObject({ status: Status.COMPLETED });
  });
});

describe('a bundle on its way in', () => {
  it('comes in pieces', async () => {
    const { calls, connect } = makeHost();
    const { wire } = await connect();
    const bytes = Buffer.concat([BUNDLE, Buffer.alloc(1.5 * MIB, 32)]);
    const digest = digestOf(bytes);
    wire.send(invokeOf({ digest }));
    await wire.next('needBundle');
    for (let offset = 0; offset < bytes.length; offset += MIB) {
      wire.send(putOf(bytes, { digest, offset: BigInt(offset), data: bytes.subarray(offset, offset + MIB) }));
    }
    await settle(wire, 1);
    expect(calls[0]?.request.bundle.bytes).toEqual(bytes);
  });

  it.each([
    ['has other bytes than its digest says', putOf(Buffer.from('other')), 'PLUGIN_INVALID', /digest/],
    [
      'announces more than a bundle may have',
      putOf(BUNDLE, { totalBytes: 17n * 1024n * 1024n }),
      'PLUGIN_INVALID',
      /at most/,
    ],
    [
      'is missing',
      putOf(new Uint8Array(0), { missing: 'gone', missingCode: 'PLUGIN_NOT_FOUND' }),
      'PLUGIN_NOT_FOUND',
      /gone/,
    ],
    [
      'is missing for a reason of an unknown code',
      putOf(new Uint8Array(0), { missing: 'gone', missingCode: 'X' }),
      'PLUGIN_NOT_FOUND',
      /gone/,
    ],
  ])('that %s ends the attempts that wait for it', async (_, put, code, message) => {
    const { connect } = makeHost();
    const { wire } = await connect();
    wire.send(invokeOf(), invokeOf());
    await wire.next('needBundle');
    wire.send(put);
    for (const index of [0, 1]) {
      expect(await wire.next('result', index)).toMatchObject({ code, message: expect.stringMatching(message) });
    }
  });

  it('that is no bundle ends the attempts that wait for it', async () => {
    const { connect } = makeHost();
    const { wire } = await connect();
    const jar = Buffer.from([0x50, 0x4b, 3, 4, 0, 0]);
    wire.send(invokeOf({ digest: digestOf(jar) }));
    await wire.next('needBundle');
    wire.send(putOf(jar, { digest: digestOf(jar) }));
    expect(await wire.next('result')).toMatchObject({ code: 'PLUGIN_INVALID', message: expect.stringMatching(/JAR/) });
  });

  it.each([
    ['begins in the middle', putOf(BUNDLE, { offset: 5n })],
    ['is longer than announced', putOf(BUNDLE, { totalBytes: 3n })],
    ['brings nothing', putOf(BUNDLE, { data: new Uint8Array(0) })],
    ['is larger than a piece may be', putOf(Buffer.alloc(MIB + 1), { totalBytes: 4n * 1024n * 1024n })],
  ])('whose piece %s closes the connection', async (_, put) => {
    const { connect } = makeHost();
    const { wire, ended } = await connect();
    wire.send(invokeOf());
    await wire.next('needBundle');
    wire.send(put);
    expect(await ended).toMatchObject({ kind: 'protocol-error', message: 'a piece of a bundle out of order' });
  });

  it('that nobody asked for is dropped', async () => {
    const { connect } = makeHost();
    const { wire } = await connect();
    wire.send(putOf(BUNDLE), invokeOf());
    expect(await wire.next('needBundle')).toMatchObject({ digest: DIGEST });
  });

  it('is asked for later when eight others are on their way', async () => {
    const { connect } = makeHost();
    const { wire } = await connect();
    const others = Array.from({ length: 10 }, (_, i) => Buffer.concat([BUNDLE, Buffer.from(`// ${i}`)]));
    wire.send(...others.map((bytes) => invokeOf({ digest: digestOf(bytes) })));
    await settle(wire, 1);
    expect(wire.all('needBundle')).toHaveLength(8);
    const [first = BUNDLE] = others;
    wire.send(putOf(first, { digest: digestOf(first) }));
    await wire.next('needBundle', 8);
  });
});

describe('host calls of an attempt', () => {
  const secretCall = { method: 'secret', payloadJson: Buffer.from('{"name":"TOKEN"}') };

  async function running(options: Parameters<typeof makeHost>[0]) {
    const { calls, connect } = makeHost(options);
    const { wire } = await connect();
    wire.send(invokeOf());
    await wire.next('needBundle');
    wire.send(putOf(BUNDLE));
    await settle(wire, 1);
    const [call] = calls;
    if (call === undefined) throw new Error('the tier was given nothing');
    return { wire, call };
  }

  it('beyond its limit end it, whatever its sandbox does', async () => {
    const { wire, call } = await running({});
    for (let callId = 0; callId < LIMITS.hostCalls; callId++) {
      expect(await call.events.onHostCall({ callId, ...secretCall })).toMatchObject({ code: 'POLICY_DENIED' });
    }
    expect(call.cancel).not.toHaveBeenCalled();
    const over = await call.events.onHostCall({ callId: 99, ...secretCall });
    expect(over).toMatchObject({ ok: false, code: 'LIMIT_HOST_CALLS' });
    expect(call.cancel).toHaveBeenCalledExactlyOnceWith({ graceMs: 0, reason: expect.any(String) });
    call.end({ status: 'CANCELLED', message: 'as asked' });
    const result = await wire.next('result');
    expect(result).toMatchObject({ status: Status.FAILED, code: 'LIMIT_HOST_CALLS', notRetryable: true });
    expect(result.message).toMatch(/limits\.hostCalls in rule 1/);
    expect(JSON.parse(Buffer.from(result.receiptJson).toString())).toMatchObject({ hostCalls: 11 });
  });

  it('may tell their progress without end: little of it is passed on, but that they are done is', async () => {
    const { wire, call } = await running({ decision: RUN });
    const tell = (fraction: number) =>
      call.events.onProgress({ $typeName: 'flowops.sandbox.v1.Progress', ...callProgress(''), fraction });
    for (let i = 0; i < 5_000; i++) tell(0.5);
    for (let i = 0; i < 5_000; i++) tell(1);
    call.end({ status: 'COMPLETED', outputsJson: Buffer.from('{}') });
    await wire.next('result');
    const told = wire.all('progress').map(({ fraction }) => fraction);
    expect(told.length).toBeLessThan(500);
    expect([told[0], told.at(-1)]).toEqual([0.5, 1]);
  });

  it('that tell their progress on and on are ended', async () => {
    const { wire, call } = await running({ decision: RUN });
    for (let i = 0; i < 20_000; i++) {
      call.events.onProgress({ $typeName: 'flowops.sandbox.v1.Progress', ...callProgress(''), fraction: 0.5 });
    }
    expect(call.cancel).toHaveBeenCalledExactlyOnceWith({ graceMs: 0, reason: expect.any(String) });
    call.end({ status: 'CANCELLED', message: 'as asked' });
    expect(await wire.next('result')).toMatchObject({ status: Status.FAILED, code: 'LIMIT_LOG' });
  });

  it('give a secret that is in nothing that leaves the host', async () => {
    const grants = { net: [], secrets: [{ name: 'TOKEN', hosts: [] }], wasm: false };
    const secrets = givenSecrets(new Map([['TOKEN', 'canary-1234']]));
    const { wire, call } = await running({ decision: { ...RUN, grants }, secrets });
    const given = await call.events.onHostCall({ callId: 1, ...secretCall });
    expect(given.payloadJson?.toString()).toBe('{"value":"canary-1234"}');
    call.events.onLog({ level: 'info', message: 'canary-1234', fieldsJson: Buffer.from('{"a":"canary-1234"}') });
    call.events.onProgress({ $typeName: 'flowops.sandbox.v1.Progress', ...callProgress('canary-1234') });
    call.end({ status: 'COMPLETED', outputsJson: Buffer.from('{"a":"<canary-1234>"}') });
    const result = await wire.next('result');
    expect(Buffer.from(result.outputsJson).toString()).toBe('{"a":"<***>"}');
    expect(JSON.parse(Buffer.from(result.receiptJson).toString())).toMatchObject({ secrets: ['TOKEN'], bytesOut: 13 });
    expect(wire.all('log').map(({ message }) => message)).toEqual([
      '***',
      expect.stringMatching(/taken out of the outputs/),
    ]);
    const all = [...wire.all('log'), ...wire.all('progress'), ...wire.all('result')];
    expect(all.map((message) => toBinaryText(message)).join()).not.toContain('canary-1234');
    expect(wire.all('progress')).toMatchObject([{ message: '***' }]);
  });
});

function callProgress(message: string) {
  return { token: new Uint8Array(16), fraction: 0.5, message };
}

/** Every byte and text of a message. */
function toBinaryText(message: object): string {
  return Object.values(message)
    .map((value) => (value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value)))
    .join('\n');
}
