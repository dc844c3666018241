/** Cases 39 to 43 and 66: peers that break the protocol towards a real sandbox host. Each has a host of its own. */
import { randomBytes } from 'node:crypto';
import { digestOf } from '@flowops/proto/ids.ts';
import type { PeerMessage, PeerMessageInit } from '@flowops/proto/peer-rules.ts';
import { AttachReply_State } from '@flowops/proto/sandbox_pb.js';
import { residentBytes } from '../../kernel/process-figures.ts';
import type { Bench } from '../bench-contract.ts';
import type { HostCase } from '../case.ts';
import { NEIGHBOUR } from '../neighbour.ts';
import { descendantsOf, isAlive } from '../process-tree.ts';
import { runStep } from '../step.ts';
import { policyText } from '../test-policy.ts';
import { HELLO, openWire, type Wire } from '../wire.ts';

/** A host that starts on a busy machine; what it refuses it refuses at once. */
const CUT_MS = 15_000;
const ANSWER_MS = 20_000;
/** What a host may hold for one peer at most, all its bounds together, with the heap it starts with. */
const MAX_HOST_BYTES = 640 * 1024 * 1024;

/** Whether the host ends with its connection, and whether another host serves a neighbour meanwhile. */
async function withWire(
  bench: Bench,
  tries: readonly ((wire: Wire) => Promise<readonly string[]>)[],
): Promise<string[]> {
  const place = { tier: 'isolate', runtime: 'isolated-vm' } as const;
  const other = await bench.openHost({ policy: policyText([NEIGHBOUR], place) });
  const problems: string[] = [];
  for (const attempt of tries) {
    const wire = await openWire(bench.hostEnv);
    problems.push(...(await attempt(wire)));
    const neighbour = await runStep(other.process, bench.neighbour);
    if (neighbour.ending !== 'COMPLETED') problems.push(`a neighbour ended ${neighbour.ending}`);
    const pids = [wire.pid, ...descendantsOf(wire.pid)];
    await wire.close();
    await new Promise((resolve) => setTimeout(resolve, 200));
    if (pids.some(isAlive)) problems.push('processes of the host outlived its connection');
  }
  return [...problems, ...(await other.close())];
}

/** Sends it after the Hellos, or instead of one, and expects the end of the connection. */
function cutBy(what: string, send: (wire: Wire) => void, greets = true) {
  return async (wire: Wire): Promise<readonly string[]> => {
    if (greets) wire.send(HELLO);
    send(wire);
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
          wire.send(HELLO);
          for (let i = 0; i < 5_000; i++) wire.send(invokeOf(randomBytes(16), { runId: `run-${i}` }));
          const refused = await wire.until(isResult, ANSWER_MS);
          return [...(refused ? [] : ['nothing was refused']), ...heavy(wire)];
        },
        async (wire) => {
          wire.send(HELLO);
          const token = randomBytes(16);
          for (let i = 0; i < 100_000; i++) wire.send({ case: 'hostReply', value: { token, callId: i, ok: true } });
          wire.send({ case: 'ping', value: { id: 1 } });
          const lives = await wire.until((message) => message.case === 'pong', ANSWER_MS);
          return [...(lives ? [] : ['the connection did not live on']), ...heavy(wire)];
        },
      ]),
  },
  {
    kind: 'host',
    id: '43',
    title: 'a peer that never reads is cut off before it costs memory',
    run: (bench) =>
      withWire(bench, [
        async (wire) => {
          wire.send(HELLO);
          if (!(await wire.until((message) => message.case === 'hello', ANSWER_MS))) return ['the host said no Hello'];
          wire.pause();
          const deadline = performance.now() + ANSWER_MS;
          const token = randomBytes(16);
          // Each is answered; nobody reads the answers.
          while (performance.now() < deadline && isAlive(wire.pid)) {
            for (let i = 0; i < 5_000; i++) {
              wire.send({ case: 'attach', value: { token, flowId: 'f', runId: 'r', epoch: 1n } });
            }
            await new Promise((resolve) => setTimeout(resolve, 20));
            if (heavy(wire).length > 0) break;
          }
          return isAlive(wire.pid) ? ['it was not cut off', ...heavy(wire)] : [];
        },
      ]),
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

function heavy({ pid }: Wire): string[] {
  const bytes = residentBytes(pid) ?? 0;
  return bytes <= MAX_HOST_BYTES ? [] : [`the host holds ${Math.round(bytes / 1024 / 1024)} MB for one peer`];
}
