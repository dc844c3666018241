/** What one connection can make a sandbox host hold: attempts, inputs, results, bundles, names, log lines. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { digestOf } from '../../../proto/ids.ts';
import { AttachReply_State, Status } from '../../../proto/sandbox_pb.js';
import { DEFAULT_MAX_HELD_BYTES } from '../../../proto/send-queue.ts';
import { MAX_ATTEMPT_BYTES, MAX_ATTEMPTS } from '../../../sandbox/host.ts';
import { helloOf, MIB, Wire } from '../../fixtures/sandbox/wire.ts';
import { BUNDLE, DIGEST, invokeOf, makeHost, putOf, settle } from './hand-driven-host.ts';

/** A hundred megabytes, on a machine that is busy with other tests. */
const SLOWLY = { timeout: 60_000 };
const NEVER_SENT = digestOf(Buffer.from('never sent'));
const tokenOf = ({ value }: ReturnType<typeof invokeOf>): Uint8Array => value.token;
const cancelOf = (token: Uint8Array) =>
  ({ case: 'cancel', value: { token, epoch: 3n, graceMs: 0, reason: 'enough' } }) as const;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const quiet = async (): Promise<void> => {
  for (let i = 0; i < 50; i++) await turn();
};

/** A step that runs, for each Invoke. */
async function running(count = 1) {
  const made = makeHost();
  const { wire, ended } = await made.connect();
  const invokes = Array.from({ length: count }, () => invokeOf());
  wire.send(...invokes);
  await wire.next('needBundle');
  wire.send(putOf(BUNDLE));
  await settle(wire, 1);
  return { ...made, wire, ended, tokens: invokes.map(tokenOf) };
}

const completed = (bytes: number) =>
  ({ status: 'COMPLETED', outputsJson: Buffer.alloc(bytes, ' ') }) as Parameters<
    ReturnType<typeof makeHost>['calls'][number]['end']
  >[0];

afterEach(() => {
  vi.useRealTimers();
});

describe('attempts of one connection', SLOWLY, () => {
  it('are refused beyond their number', async () => {
    const { connect } = makeHost();
    const { wire } = await connect();
    for (let i = 0; i < MAX_ATTEMPTS; i++) wire.send(invokeOf());
    await settle(wire, 1);
    expect(wire.all('result')).toEqual([]);
    wire.send(invokeOf());
    expect(await wire.next('result')).toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
  });

  it('keep their places while they were acknowledged unread', async () => {
    const { calls, wire } = await running(3);
    // The third has no Credit, and what comes behind it waits.
    for (const call of calls) call.end(completed(15 * MIB));
    await wire.next('result', 1);
    for (let i = 0; i < MAX_ATTEMPTS + 10; i++) {
      const invoke = invokeOf({ digest: NEVER_SENT });
      const token = tokenOf(invoke);
      wire.send(invoke, cancelOf(token), { case: 'resultAck', value: { token } });
    }
    await settle(wire, 2);
    wire.send({ case: 'credit', value: { bytes: 30 * MIB } });
    await wire.next('result', 15);
    await settle(wire, 3);
    const codes = wire.all('result').map(({ code }) => code);
    expect(codes.slice(0, 3)).toEqual(['', '', '']);
    expect(codes.slice(3)).toEqual(Array.from({ length: 13 }, () => 'SANDBOX_UNAVAILABLE'));
    // Those places are free again.
    const next = invokeOf({ digest: NEVER_SENT });
    wire.send(next, cancelOf(tokenOf(next)));
    expect(await wire.next('result', 16)).toMatchObject({ status: Status.CANCELLED });
  });

  it('are refused when their inputs are too much together, and taken again when some have ended', async () => {
    const { connect } = makeHost();
    const { wire } = await connect();
    const inputsJson = Buffer.alloc(8 * MIB, ' ');
    const invokes = Array.from({ length: MAX_ATTEMPT_BYTES / (8 * MIB) }, () => invokeOf({ inputsJson }));
    for (const invoke of invokes) wire.send(invoke);
    expect(await wire.next('result')).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringMatching(/at most \d+ are held/),
      token: Buffer.from(invokes.at(-1)?.value.token ?? ''),
    });
    const [first] = invokes.map(tokenOf);
    if (first === undefined) throw new Error('there is one');
    wire.send(cancelOf(first));
    expect(await wire.next('result', 1)).toMatchObject({ status: Status.CANCELLED });
    const next = invokeOf({ inputsJson });
    wire.send(next, cancelOf(tokenOf(next)));
    expect(await wire.next('result', 2)).toMatchObject({ status: Status.CANCELLED });
  });

  it('count with their results until these are acknowledged', async () => {
    const { calls, wire, tokens } = await running(9);
    for (const call of calls) call.end(completed(15 * MIB));
    for (let i = 0; i < 9; i++) {
      await wire.next('result', i);
      wire.send({ case: 'credit', value: { bytes: 15 * MIB } });
    }
    wire.send(invokeOf());
    expect(await wire.next('result', 9)).toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
    const [token = Buffer.alloc(16)] = tokens;
    wire.send({ case: 'resultAck', value: { token } }, invokeOf());
    await settle(wire, 2);
    expect(calls).toHaveLength(10);
  });

  it.each(['flowId', 'runId', 'stepId', 'pluginId', 'pluginVersion', 'idempotencyKey', 'requestedTier'])(
    'whose %s is longer than any of ours break the protocol',
    async (name) => {
      const { connect } = makeHost();
      const { wire, ended } = await connect();
      wire.send(invokeOf({ [name]: 'x'.repeat(1025) }));
      expect(await ended).toMatchObject({
        kind: 'protocol-error',
        message: `invoke with a ${name} of 1025 characters`,
      });
    },
  );

  it('whose signature is a megabyte of somebody else do not cost the connection, and it is not kept', async () => {
    const { calls, wire } = await running(1);
    wire.send(invokeOf({ signature: 'x'.repeat(MIB) }), invokeOf());
    await settle(wire, 3);
    expect(calls).toHaveLength(3);
  });

  it('that are asked about under a name of megabytes break the protocol', async () => {
    const { connect } = makeHost();
    const { wire, ended } = await connect();
    wire.send({ case: 'attach', value: { token: Buffer.alloc(16), flowId: 'f', runId: 'x'.repeat(MIB), epoch: 1n } });
    expect(await ended).toMatchObject({ kind: 'protocol-error' });
  });
});

describe('results that an engine does not read', SLOWLY, () => {
  it('are told once each, however often it asks, and when it reads', async () => {
    const { calls, wire, tokens } = await running(4);
    wire.pause();
    for (const call of calls) call.end(completed(12 * MIB));
    await quiet();
    const [token = Buffer.alloc(16)] = tokens.slice(-1);
    for (let i = 0; i < 10_000; i++) {
      wire.send({ case: 'attach', value: { token, flowId: 'f', runId: 'r', epoch: 3n } });
    }
    await quiet();
    wire.resume();
    await wire.next('result', 1);
    wire.send({ case: 'credit', value: { bytes: 24 * MIB } });
    await wire.next('result', 3);
    await wire.next('attachReply', 9_999);
    await settle(wire, 2);
    expect(wire.all('attachReply').every(({ state }) => state === AttachReply_State.ENDED)).toBe(true);
    expect(wire.all('result')).toHaveLength(4);
  });

  it('that are larger than it reads end as LIMIT_OUTPUT', async () => {
    const { calls, host } = makeHost();
    const wire = new Wire();
    void host.serve(wire.far);
    wire.send(helloOf('engine', { maxFrameBytes: 2 * MIB, windowBytes: 4 * MIB }), invokeOf());
    await wire.next('needBundle');
    wire.send(putOf(BUNDLE));
    await settle(wire, 1);
    calls[0]?.end(completed(3 * MIB));
    expect(await wire.next('result')).toMatchObject({
      code: 'LIMIT_OUTPUT',
      message: `the outputs have ${3 * MIB} bytes, more than the engine reads`,
    });
  });
});

describe('the log of a step whose engine does not read', () => {
  it('is dropped beyond a third of what may wait, and counted', async () => {
    const { calls, wire } = await running();
    const [call] = calls;
    if (call === undefined) throw new Error('there is one');
    wire.pause();
    const line = { level: 'info', message: 'x'.repeat(10_000), fieldsJson: new Uint8Array(0) } as const;
    const lines = 5_000;
    for (let i = 0; i < lines; i++) call.events.onLog(line);
    await quiet();
    wire.resume();
    call.end(completed(2));
    const { droppedLogLines } = await wire.next('result');
    const told = wire.all('log').length;
    expect(told * 10_000).toBeLessThan(DEFAULT_MAX_HELD_BYTES / 2);
    expect(told * 10_000).toBeGreaterThan(DEFAULT_MAX_HELD_BYTES / 4);
    // Four is what the tier says that it dropped itself.
    expect(droppedLogLines).toBe(lines - told + 4);
  });
});

describe('bundles on their way in', () => {
  const others = Array.from({ length: 10 }, (_, i) => Buffer.concat([BUNDLE, Buffer.from(`// ${i}`)]));
  const half = (bytes: Buffer) => putOf(bytes, { digest: digestOf(bytes), data: bytes.subarray(0, 5) });

  it('come one after the other: pieces of two at a time close the connection', async () => {
    const { connect } = makeHost();
    const { wire, ended } = await connect();
    const [first = BUNDLE, second = BUNDLE] = others;
    wire.send(invokeOf({ digest: digestOf(first) }), invokeOf({ digest: digestOf(second) }));
    await wire.next('needBundle', 1);
    wire.send(half(first), half(second));
    expect(await ended).toMatchObject({ kind: 'protocol-error', message: 'pieces of two bundles at a time' });
  });

  it('that nobody waits for any more make room for others', async () => {
    const { calls, connect } = makeHost();
    const { wire } = await connect();
    const invokes = others.map((bytes) => invokeOf({ digest: digestOf(bytes) }));
    const [first = BUNDLE] = others;
    wire.send(...invokes, half(first));
    await settle(wire, 1);
    expect(wire.all('needBundle')).toHaveLength(8);
    wire.send(...invokes.map((invoke) => cancelOf(tokenOf(invoke))));
    wire.send(invokeOf());
    await wire.next('result', 9);
    expect(await wire.next('needBundle', 8)).toMatchObject({ digest: DIGEST });
    wire.send(putOf(BUNDLE));
    await settle(wire, 2);
    expect(calls).toHaveLength(1);
  });
});
