/** A peer of a sandbox host that keeps no rule of the protocol: sends any frame or any bytes, keeps what it gets. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { encodeFrame, FrameDecoder } from '@flowops/proto/framing.ts';
import { ownModule } from '@flowops/proto/own-module.ts';
import { decodeMessage, encodeMessage, type PeerMessage, type PeerMessageInit } from '@flowops/proto/peer-rules.ts';

const MAX_FRAME_BYTES = 64 * 1024 * 1024;
const MIB = 1024 * 1024;

export const HELLO: PeerMessageInit = {
  case: 'hello',
  value: {
    minVersion: 1,
    maxVersion: 1,
    role: 'engine',
    instance: 'doctor',
    maxFrameBytes: 2 * MIB,
    windowBytes: 4 * MIB,
  },
};

export interface Wire {
  readonly pid: number;
  readonly received: readonly PeerMessage[];
  /** What the host has not taken yet of what was sent. */
  unsentBytes(): number;
  send(...messages: PeerMessageInit[]): void;
  raw(bytes: Uint8Array): void;
  /** Stops reading, as a peer that hangs. */
  pause(): void;
  /** Resolves with true when such a message came, with false when the connection or the time ended first. */
  until(isIt: (message: PeerMessage) => boolean, withinMs: number): Promise<boolean>;
  /** Whether the host cut the connection in that time. */
  isCutWithin(ms: number): Promise<boolean>;
  /** Ends the host. Idempotent. */
  close(): Promise<void>;
}

/** A host of its own under the developer policy: its connection is all it has, so that nobody else is hit. */
export async function openWire(env: Readonly<Record<string, string | undefined>>): Promise<Wire> {
  const entry = fileURLToPath(ownModule('../main', import.meta.url));
  const child = spawn(process.execPath, ['--disable-sigusr1', entry, '--developer-policy'], {
    env: { ...env, LOG_LEVEL: 'silent' },
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    detached: process.platform !== 'win32',
  });
  const stream = child.stdio[3];
  if (!(stream instanceof Duplex)) throw new Error('descriptor 3 of a child is a duplex stream');
  const received: PeerMessage[] = [];
  const waiters = new Set<() => void>();
  const wake = (): void => {
    for (const waiter of [...waiters]) waiter();
  };
  let isCut = false;
  const cut = (): void => {
    isCut = true;
    wake();
  };
  const decoder = new FrameDecoder(MAX_FRAME_BYTES);
  stream.on('data', (chunk: Uint8Array) => {
    decoder.push(chunk, (payload) => {
      const message = decodeMessage(payload);
      if (message === undefined) return true;
      received.push(message);
      // Whoever is not heard of is cut off for that; here it is to be for what it does.
      if (message.case === 'ping' && !stream.destroyed) {
        stream.write(encodeFrame(encodeMessage({ case: 'pong', value: { id: message.value.id } })));
      }
      return true;
    });
    wake();
  });
  stream.on('error', cut).on('end', cut).on('close', cut);

  const within = (ms: number, isDone: () => boolean): Promise<boolean> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (isDone()) settle(true);
        else if (isCut) settle(false);
      };
      const timer = setTimeout(() => settle(isDone()), ms);
      const settle = (value: boolean): void => {
        clearTimeout(timer);
        waiters.delete(look);
        resolve(value);
      };
      waiters.add(look);
      look();
    });
  return {
    pid: child.pid ?? 0,
    received,
    unsentBytes: () => stream.writableLength,
    send: (...messages) => {
      for (const message of messages) if (!stream.destroyed) stream.write(encodeFrame(encodeMessage(message)));
    },
    raw: (bytes) => {
      if (!stream.destroyed) stream.write(bytes);
    },
    pause: () => stream.pause(),
    until: (isIt, ms) => within(ms, () => received.some(isIt)),
    isCutWithin: (ms) => within(ms, () => isCut),
    close: async () => {
      stream.destroy();
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
      await exited;
      clearTimeout(timer);
    },
  };
}
