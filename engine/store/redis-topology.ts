/**
 * Which node of a Redis Cluster holds which slots, and which slot a key has (redis.io, cluster specification): CRC16 of
 * the key's hash tag, modulo 16384.
 */
import { z } from 'zod';
import type { RedisHost } from './redis-url.ts';
import { StoreDamaged } from './run-store.ts';

export const SLOTS = 16_384;
const POLYNOMIAL = 0x1021;
/** From the first `{` to the next `}`, unless nothing is between. */
const TAG = /^[^{]*\{([^}]+)\}/;

/** CLUSTER SLOTS: first slot, last slot, the primary as [host, port, …], its replicas. */
const slotsReply = z.array(
  z.tuple([z.number(), z.number(), z.tuple([z.string().nullable(), z.number()]).rest(z.unknown())]).rest(z.unknown()),
);

export interface SlotRange {
  readonly from: number;
  readonly to: number;
  readonly primary: RedisHost;
}

/** @param asked the node that answered: one that does not know its own address leaves it out */
export function parseSlots(reply: unknown, asked: RedisHost): readonly SlotRange[] {
  const parsed = slotsReply.safeParse(reply);
  if (!parsed.success) throw new StoreDamaged(`CLUSTER SLOTS answered ${JSON.stringify(reply)?.slice(0, 200)}`);
  return parsed.data.map(([from, to, [host, port]]) => ({
    from,
    to,
    primary: { host: host === null || host === '' || host === '?' ? asked.host : host, port },
  }));
}

/** `MOVED 3999 10.0.0.7:6381`: the node that has the slot now. */
export function parseMoved(message: string, asked: RedisHost): RedisHost | undefined {
  const [, host, port] = /^MOVED \d+ (.*):(\d+)$/.exec(message) ?? [];
  if (host === undefined) return undefined;
  return { host: host === '' || host === '?' ? asked.host : host.replace(/^\[|\]$/g, ''), port: Number(port) };
}

export function slotOf(key: string): number {
  return crc16(Buffer.from(TAG.exec(key)?.[1] ?? key)) % SLOTS;
}

/** CRC-16/XMODEM. */
function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ POLYNOMIAL) & 0xffff;
  }
  return crc;
}
