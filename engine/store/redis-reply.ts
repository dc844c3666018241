/**
 * Reads the replies of our scripts: nested arrays of text and numbers, whose first element is a tag. Anything else is
 * not of our making and is StoreDamaged.
 */
import { type RunMeta, StoreDamaged, type StoredRun } from './run-store.ts';

export interface TaggedReply {
  readonly tag: string;
  readonly rest: readonly unknown[];
}

export function taggedReply(reply: unknown): TaggedReply {
  const [tag, ...rest] = listReply(reply);
  return { tag: textReply(tag), rest };
}

/** Meta, definition, steps, outbox: as claim.lua and read.lua give them. */
export function storedRunReply(parts: readonly unknown[]): StoredRun {
  const [meta, definition, steps, outbox] = parts;
  return {
    meta: metaReply(meta),
    definition: textReply(definition),
    steps: pairsReply(steps),
    outbox: listReply(outbox).map(textReply),
  };
}

export function metaReply(reply: unknown): RunMeta {
  const all = pairsReply(reply);
  const fields: Record<string, string> = {};
  for (const [name, value] of all) {
    if (!name.startsWith('_')) Object.defineProperty(fields, name, { value, enumerable: true });
  }
  return {
    format: ownNumber(all, '_format'),
    partition: ownText(all, '_partition'),
    epoch: ownNumber(all, '_epoch'),
    revision: ownNumber(all, '_revision'),
    outboxHead: ownNumber(all, '_outboxHead'),
    fields,
  };
}

/** Whether `retire` was called: the store's own business, not part of RunMeta. */
export function isRetiredReply(reply: unknown): boolean {
  return pairsReply(reply).has('_retired');
}

/** A hash, as the client library gives the reply of HGETALL. */
export function recordReply(reply: unknown): ReadonlyMap<string, string> {
  if (typeof reply !== 'object' || reply === null || Array.isArray(reply)) throw unexpected(reply);
  return new Map(Object.entries(reply).map(([name, value]) => [name, textReply(value)]));
}

export function listReply(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw unexpected(reply);
  return reply;
}

export function textReply(reply: unknown): string {
  if (typeof reply !== 'string') throw unexpected(reply);
  return reply;
}

export function numberReply(reply: unknown): number {
  const value = typeof reply === 'string' && reply !== '' ? Number(reply) : reply;
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw unexpected(reply);
  return value;
}

function pairsReply(reply: unknown): ReadonlyMap<string, string> {
  const flat = listReply(reply);
  const pairs = new Map<string, string>();
  for (let index = 0; index < flat.length; index += 2) pairs.set(textReply(flat[index]), textReply(flat[index + 1]));
  return pairs;
}

function ownText(all: ReadonlyMap<string, string>, name: string): string {
  const value = all.get(name);
  if (value === undefined) throw new StoreDamaged(`a run in Redis lacks the field ${name} of its :meta`);
  return value;
}

function ownNumber(all: ReadonlyMap<string, string>, name: string): number {
  const value = Number(ownText(all, name));
  if (!Number.isSafeInteger(value)) throw new StoreDamaged(`the field ${name} of a run's :meta in Redis is no number`);
  return value;
}

function unexpected(reply: unknown): StoreDamaged {
  return new StoreDamaged(`Redis answered a script with ${JSON.stringify(reply)?.slice(0, 200)}`);
}
