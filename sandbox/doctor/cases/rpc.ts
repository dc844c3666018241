/** Cases 39 to 43 and 66: peers that break the protocol towards a real sandbox host. Each has a host of its own. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeFrame } from '@flowops/proto/framing.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { DEFAULT_STALL_MS } from '@flowops/proto/peer.ts';
import { encodeMessage, type PeerMessage, type PeerMessageInit } from '@flowops/proto/peer-rules.ts';
import { AttachReply_State } from '@flowops/proto/sandbox_pb.js';
import { DEFAULT_MAX_HELD_BYTES } from '@flowops/proto/send-queue.ts';
import { MAX_ATTEMPT_BYTES } from '../../host.ts';
import { peakResidentBytes, residentBytes } from '../../kernel/process-figures.ts';
import type { Bench } from '../bench-contract.ts';
import type { HostCase } from '../case.ts';
import { NEIGHBOUR } from '../neighbour.ts';
import { descendantsOf, isAlive } from '../process-tree.ts';
import { runStep } from '../step.ts';
import { policyText } from '../test-policy.ts';
import { HELLO, openWire, type Wire } from '../wire.ts';

type Try = (wire: Wire) => Promise<readonly string[]>;

/** A host that starts on a machine on which everything is tried at once. */
const START_MS = 60_000;
/** What it refuses it refuses at once, but for one that says nothing: that has the time of a Hello. */
const CUT_MS = 15_000;
const ANSWER_MS = 20_000;
/**
 * What one peer may make a host grow by: the bytes that may wait for it (DEFAULT_MAX_HELD_BYTES), and what a heap grows
 * by before it is collected.
 */
const MAX_GROWTH_BYTES = DEFAULT_MAX_HELD_BYTES + 104 * 1024 * 1024;
/** Who reads nothing is cut off after DEFAULT_STALL_MS; a busy machine takes its time to make it so. */
const NEVER_READ_MS = 4 * DEFAULT_STALL_MS;
/** More than this is not sent ahead: what the doctor holds is not what is judged. */
const SENT_AHEAD_BYTES = 16 * 1024 * 1024;

/** Whether the host ends with its connection, and whether another host serves a neighbour meanwhile. */
async function withWire(
  bench: Bench,
  tries: readonly Try[],
  order: 'one after the other' | 'together' = 'one after the other',
): Promise<string[]> {
  const place = { tier: 'isolate', runtime: 'isolated-vm' } as const;
  const other = await bench.openHost({ policy: policyText([NEIGHBOUR], place) });
  const judge = async (attempt: Try): Promise<string[]> => {
    const wire = await openWire(bench.hostEnv);
    const problems = [...(await attempt(wire))];
    const neighbour = await runStep(other.process, bench.neighbour);
    if (neighbour.ending !== 'COMPLETED') problems.push(`a neighbour ended ${neighbour.ending}`);
    const pids = [wire.pid, ...descendantsOf(wire.pid)];
    await wire.close();
    await sleep(200);
    if (pids.some(isAlive)) problems.push('processes of the host outlived its connection');
    return problems;
  };
  const problems: string[] = [];
  if (order === 'together') problems.push(...(await Promise.all(tries.map(judge))).flat());
  else for (const attempt of tries) problems.push(...(await judge(attempt)));
  return [...problems, ...(await other.close())];
}

/** Sends it after the Hellos, or instead of one, and expects the end of the connection. */
function cutBy(what: string, send: (wire: Wire) => void, greets = true) {
  return async (wire: Wire): Promise<readonly string[]> => {
    if (greets) wire.send(HELLO);
    send(wire);
    await wire.until((message) => message.case === 'hello', START_MS);
    return (await wire.isCutWithin(CUT_MS)) ? [] : [`${what}: the connection was not cut`];
  };
}

function header(length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(length | 0);
  return bytes;
}

function invokeOf(token: Uint8Array, changes: object = {}): PeerMessageInit {
  const value = {
    token,
    flowId: 'doctor',
    runId: 'run',
    stepId: 'step',
    attempt: 1,
    epoch: 5n,
    pluginId: 'doctor.rpc',
    digest: digestOf(Buffer.from(Buffer.from(token).toString('hex'))),
    inputsJson: Buffer.from('{}'),
    ...changes,
  };
  return { case: 'invoke', value };
}

const isResult = (message: PeerMessage): boolean => message.case === 'result';

export const RPC_CASES: readonly HostCase[] = [
  {
    kind: 'host',
    id: '39',
    title: 'lengths of 4 GB, 0 or less, truncated frames and half a frame close the connection',
    run: (bench) =>
      withWire(bench, [
        cutBy('4 GB', (wire) => wire.raw(header(0xffff_ffff))),
        cutBy('length 0', (wire) => wire.raw(header(0))),
        cutBy('a negative length', (wire) => wire.raw(header(-5))),
        cutBy('junk', (wire) => wire.raw(Buffer.concat([header(64), Buffer.alloc(64, 255)]))),
        cutBy(
          'no Hello, half a frame and silence',
          (wire) => wire.raw(Buffer.concat([header(4096), Buffer.alloc(9)])),
          false,
        ),
      ]),
  },
  {
    kind: 'host',
    id: '40',
    title: 'a wrong order, an unknown message or a second Hello closes the connection',
    run: (bench) =>
      withWire(bench, [
        cutBy('an Invoke before Hello', (wire) => wire.send(invokeOf(randomBytes(16))), false),
        cutBy('Hello twice', (wire) => wire.send(HELLO)),
        cutBy('a message of the other side', (wire) =>
          wire.send({ case: 'started', value: { token: randomBytes(16) } }),
        ),
        cutBy('a token of 3 bytes', (wire) => wire.send(invokeOf(randomBytes(3)))),
        cutBy('an unknown message', (wire) => wire.raw(Buffer.concat([header(3), Buffer.from([0xfa, 0x3f, 0x00])]))),
        cutBy(
          'versions of the future',
          (wire) => wire.send({ case: 'hello', value: { ...HELLO.value, minVersion: 9, maxVersion: 9 } as never }),
          false,
        ),
      ]),
  },
  {
    kind: 'host',
    id: '41',
    title: 'duplicate, late and foreign ids are dropped, and the connection lives',
    run: (bench) =>
      withWire(bench, [
        async (wire) => {
          const token = randomBytes(16);
          const foreign = randomBytes(16);
          wire.send(HELLO, invokeOf(token), invokeOf(token));
          for (let i = 0; i < 100; i++) {
            wire.send(
              { case: 'cancel', value: { token: foreign, epoch: 9n, graceMs: 0, reason: 'x' } },
              { case: 'resultAck', value: { token: foreign } },
              { case: 'hostReply', value: { token: foreign, callId: i, ok: true } },
              { case: 'pause', value: { token: foreign } },
            );
          }
          wire.send({ case: 'cancel', value: { token, epoch: 5n, graceMs: 0, reason: 'enough' } });
          if (!(await wire.until(isResult, ANSWER_MS))) return ['the step was not answered'];
          wire.send(
            { case: 'cancel', value: { token, epoch: 5n, graceMs: 0, reason: 'late' } },
            { case: 'ping', value: { id: 7 } },
          );
          const lives = await wire.until((message) => message.case === 'pong', ANSWER_MS);
          const results = wire.received.filter(isResult).length;
          return [
            ...(lives ? [] : ['the connection did not live on']),
            ...(results === 1 ? [] : [`${results} results came`]),
          ];
        },
      ]),
  },
  {
    kind: 'host',
    id: '42',
    title: 'steps and calls without number are refused beyond a bound',
    run: (bench) =>
      withWire(bench, [
        async (wire) => {
          const growth = await greeted(wire);
          for (let i = 0; i < 5_000; i++) wire.send(invokeOf(randomBytes(16), { runId: `run-${i}` }));
          const refused = await wire.until(isResult, ANSWER_MS);
          return [...(refused ? [] : ['nothing was refused']), ...growth()];
        },
        async (wire) => {
          const growth = await greeted(wire);
          // A gigabyte of inputs for attempts whose bundle never comes.
          const inputsJson = Buffer.alloc(4 * 1024 * 1024, ' ');
          let sent = 0;
          while (sent < 256 && !wire.received.some(isResult)) {
            if (wire.unsentBytes() < SENT_AHEAD_BYTES && ++sent) wire.send(invokeOf(randomBytes(16), { inputsJson }));
            else await sleep(10);
          }
          const refused = await wire.until(isResult, ANSWER_MS);
          return [...(refused ? [] : ['no inputs were refused']), ...growth(MAX_ATTEMPT_BYTES)];
        },
        async (wire) => {
          const growth = await greeted(wire);
          const token = randomBytes(16);
          for (let i = 0; i < 100_000; i++) wire.send({ case: 'hostReply', value: { token, callId: i, ok: true } });
          wire.send({ case: 'ping', value: { id: 1 } });
          const lives = await wire.until((message) => message.case === 'pong', ANSWER_MS);
          return [...(lives ? [] : ['the connection did not live on']), ...growth()];
        },
      ]),
  },
  {
    kind: 'host',
    id: '43',
    title: 'a peer that never reads is cut off before it costs memory',
    run: (bench) =>
      withWire(
        bench,
        [
          neverReads('requests in small batches', () => framesOf(5_000, attachOf)),
          neverReads('requests in large batches', () => framesOf(200_000, attachOf)),
          neverReads('pings in large batches', () => framesOf(200_000, (id) => [{ case: 'ping', value: { id } }])),
          neverReads('everything that is answered', () => framesOf(2_000, answeredOf)),
        ],
        'together',
      ),
  },
  {
    kind: 'host',
    id: '66',
    title: 'an Attach with a foreign token finds nothing, and a former owner cancels nothing',
    run: (bench) =>
      withWire(bench, [
        async (wire) => {
          const token = randomBytes(16);
          const about = { flowId: 'doctor', runId: 'run' };
          wire.send(HELLO, invokeOf(token));
          wire.send({ case: 'cancel', value: { token, epoch: 4n, graceMs: 0, reason: 'of a former owner' } });
          wire.send({ case: 'attach', value: { token: randomBytes(16), ...about, epoch: 5n } });
          wire.send({ case: 'attach', value: { token, ...about, epoch: 4n } });
          const isReply = (message: PeerMessage): boolean => message.case === 'attachReply';
          await wire.until(() => wire.received.filter(isReply).length === 2, ANSWER_MS);
          const states = wire.received.flatMap((message) =>
            message.case === 'attachReply' ? [message.value.state] : [],
          );
          const isRight = states[0] === AttachReply_State.UNKNOWN && states[1] === AttachReply_State.REFUSED;
          const problems = isRight ? [] : [`Attach was answered ${states.join(', ')}`];
          if (wire.received.some(isResult)) problems.push('a former owner cancelled a step');
          wire.send({ case: 'cancel', value: { token, epoch: 5n, graceMs: 0, reason: 'of its owner' } });
          if (!(await wire.until(isResult, ANSWER_MS))) problems.push('its owner could not cancel it');
          return problems;
        },
      ]),
  },
];

/** Says Hello; what it gives tells what the host has grown by since. */
async function greeted(wire: Wire): Promise<(allowedBytes?: number) => string[]> {
  wire.send(HELLO);
  if (!(await wire.until((message) => message.case === 'hello', START_MS))) return () => ['the host said no Hello'];
  const before = residentBytes(wire.pid) ?? 0;
  return (allowedBytes = 0) => {
    const bytes = (peakResidentBytes(wire.pid) ?? 0) - before;
    const isFine = bytes <= MAX_GROWTH_BYTES + allowedBytes;
    return isFine ? [] : [`the host grew by ${Math.round(bytes / 1024 / 1024)} MB for one peer`];
  };
}

/** Sends on and on and reads nothing, until it is cut off. */
function neverReads(what: string, batch: () => Buffer) {
  return async (wire: Wire): Promise<readonly string[]> => {
    const growth = await greeted(wire);
    wire.pause();
    const deadline = performance.now() + NEVER_READ_MS;
    let problems: string[] = [];
    while (performance.now() < deadline && isAlive(wire.pid) && problems.length === 0) {
      if (wire.unsentBytes() < SENT_AHEAD_BYTES) wire.raw(batch());
      await sleep(20);
      problems = growth();
    }
    const isCut = problems.length > 0 || !isAlive(wire.pid);
    return [...problems, ...(isCut ? [] : ['it was not cut off'])].map((problem) => `${what}: ${problem}`);
  };
}

function framesOf(count: number, messages: (index: number) => readonly PeerMessageInit[]): Buffer {
  const frames: Buffer[] = [];
  for (let i = 0; i < count; i++) for (const message of messages(i)) frames.push(encodeFrame(encodeMessage(message)));
  return Buffer.concat(frames);
}

const STRANGER = randomBytes(16);

function attachOf(): readonly PeerMessageInit[] {
  return [{ case: 'attach', value: { token: STRANGER, flowId: 'f', runId: 'r', epoch: 1n } }];
}

/** A ping, a refused step, and one that is cancelled before it began, asked about and acknowledged unread. */
function answeredOf(id: number): readonly PeerMessageInit[] {
  const token = randomBytes(16);
  const about = { token, epoch: 5n };
  return [
    { case: 'ping', value: { id } },
    invokeOf(randomBytes(16), { digest: 'none' }),
    invokeOf(token),
    { case: 'cancel', value: { ...about, graceMs: 0, reason: 'enough' } },
    { case: 'attach', value: { ...about, flowId: 'doctor', runId: 'run' } },
    { case: 'resultAck', value: { token } },
  ];
}
