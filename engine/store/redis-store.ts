/**
 * Run state in Redis (service use). Every transition is one Lua script on one slot (keys.ts, *.lua); this file orders
 * the transitions of one call and turns replies into the results of run-store.ts.
 *
 * A run and its index are two slots, so that what touches both is two scripts, in an order that a crash between them
 * leaves harmless: into the index before the run is written or woken, out of it after the run was let go.
 */
import type { Log } from '../log.ts';
import { epochClass, notesChannel, parseRunName, partitionKeys, runKeys, runName } from './keys.ts';
import { NoteListeners } from './note-listeners.ts';
import { checkCount, checkNote, checkPatch, metaRetentionMs } from './patch-rules.ts';
import { newSubscriber } from './redis-client.ts';
import type { ConnectionState } from './redis-connection.ts';
import { noteMessage, openingMessage, RedisNotes } from './redis-notes.ts';
import { type OpenedRedis, openRedis } from './redis-open.ts';
import { partitionsOf } from './redis-partitions.ts';
import {
  isRetiredReply,
  listReply,
  metaReply,
  numberReply,
  recordReply,
  storedRunReply,
  type TaggedReply,
  textReply,
} from './redis-reply.ts';
import { SCRIPTS } from './redis-scripts.ts';
import type { RedisServers } from './redis-servers.ts';
import { parseRedisUrl, type RedisUrlExtras } from './redis-url.ts';
import {
  type ClaimResult,
  type CommitResult,
  type CreateResult,
  DEFAULT_STATE_FORMAT,
  type Durability,
  NOTES_MAX,
  type NoteListener,
  type Ownership,
  type RunPatch,
  type RunRef,
  type RunStore,
  STATE_FORMATS,
  type StateFormat,
  type StoredRun,
} from './run-store.ts';

/** Far longer than a create can be on its way (claim.lua), short enough to leave no litter. */
const FENCE_MS = 10 * 60 * 1000;
/** Any: it names the server of a cluster whose clock is taken. */
const CLOCK_KEY = 'flowops:clock';
/** Runs restored to an index in one script: about 1 ms of Redis' time. */
const RESTORE_CHUNK = 1_000;

export interface RedisStore extends RunStore {
  /** Tells when the connection is lost and back; the result ends that. */
  onState(listener: (state: ConnectionState) => void): () => void;
}

export interface RedisStoreOptions extends RedisUrlExtras {
  /** REDIS_URL */
  readonly url: string;
  /** REDIS_ALLOW_UNSAFE: use also a Redis that evicts keys or writes no append-only file. */
  readonly allowUnsafe?: boolean;
  /** STATE_FORMAT: in which new runs are written. */
  readonly format?: StateFormat;
  readonly signal?: AbortSignal;
  readonly log: Log;
}

/**
 * @throws FlowopsError CONFIG_INVALID when the address is wrong or this Redis may lose runs
 * @throws StoreUnavailable when it cannot be reached within a few seconds, or refuses us
 */
export async function connectRedisStore(options: RedisStoreOptions): Promise<RedisStore> {
  const { signal, log } = options;
  const address = parseRedisUrl(options.url, options);
  const opening = { address, allowUnsafe: options.allowUnsafe === true, signal, log };
  const { servers, durability, onDoubt } = await openRedis(opening);
  try {
    signal?.throwIfAborted();
    const channelOf = (partition: string) => notesChannel(partition, address.db);
    const listeners = new NoteListeners();
    let connects = 0;
    const newClient = () => {
      const hosts = servers.hosts();
      return newSubscriber(address, hosts[connects++ % hosts.length] ?? hosts[0]);
    };
    const notes = new RedisNotes({ newClient, channelOf, listeners, log });
    await notes.start();
    servers.onState((state) => state === 'down' && notes.reconnect());
    const format = options.format ?? DEFAULT_STATE_FORMAT;
    return new RedisRunStore({ servers, durability, onDoubt, format, notes, listeners, channelOf, log });
  } catch (thrown) {
    await servers.close();
    throw thrown;
  }
}

interface RedisStoreParts extends OpenedRedis {
  readonly format: StateFormat;
  readonly notes: RedisNotes;
  readonly listeners: NoteListeners;
  readonly channelOf: (partition: string) => string;
  readonly log: Log;
}

class RedisRunStore implements RedisStore {
  readonly durability: Durability;
  readonly format: StateFormat;
  readonly onDoubt: OpenedRedis['onDoubt'];
  readonly #redis: RedisServers;
  readonly #notes: RedisNotes;
  readonly #listeners: NoteListeners;
  readonly #channelOf: (partition: string) => string;
  readonly #log: Log;

  constructor(parts: RedisStoreParts) {
    this.#redis = parts.servers;
    this.durability = parts.durability;
    this.onDoubt = parts.onDoubt;
    this.format = parts.format;
    this.#notes = parts.notes;
    this.#listeners = parts.listeners;
    this.#channelOf = parts.channelOf;
    this.#log = parts.log;
  }

  get state(): ConnectionState {
    return this.#redis.state;
  }

  onState(listener: (state: ConnectionState) => void): () => void {
    return this.#redis.onState(listener);
  }

  async clock(): Promise<number> {
    const [seconds, micros] = listReply(await this.#redis.command(CLOCK_KEY, 'time', []));
    return numberReply(seconds) * 1000 + Math.floor(numberReply(micros) / 1000);
  }

  async openPartition(partition: string): Promise<Ownership> {
    const { epoch } = partitionKeys(partition);
    this.#listeners.open(partition);
    const [reply] = await Promise.all([
      this.#redis.run(SCRIPTS.openPartition, [epoch], [epochClass(partition)]),
      this.#notes.open(partition),
    ]);
    const owner = { partition, epoch: numberReply(reply.rest[0]) };
    this.#listeners.opened(owner);
    // Whoever had it before learns it at once, and not only with the next write.
    this.#redis.command(epoch, 'publish', [this.#channelOf(partition), openingMessage(owner)]).catch(() => undefined);
    return owner;
  }

  async closePartition(partition: string): Promise<void> {
    this.#listeners.close(partition);
    this.#notes.close(partition);
  }

  async restorePartition(owner: Ownership, runs: readonly RunRef[]): Promise<'ok' | 'fenced'> {
    checkCount('epoch', owner.epoch);
    const { epoch, active } = partitionKeys(owner.partition);
    const names = runs.map(runName);
    for (let from = 0; from === 0 || from < names.length; from += RESTORE_CHUNK) {
      const chunk = names.slice(from, from + RESTORE_CHUNK);
      const later = names.length - from - chunk.length;
      const reply = await this.#redis.run(SCRIPTS.restorePartition, [epoch, active], [owner.epoch, later, ...chunk]);
      if (reply.tag !== 'ok') return 'fenced';
    }
    return 'ok';
  }

  async activeRuns(partition: string): Promise<readonly RunRef[]> {
    const { active } = partitionKeys(partition);
    const members = listReply(await this.#redis.command(active, 'zrange', [active, 0, -1])).map(textReply);
    return members.flatMap((member) => {
      const run = parseRunName(member);
      if (run === undefined) this.#log.warn({}, `${active} holds ${JSON.stringify(member)}, which is no run: ignored`);
      return run ?? [];
    });
  }

  async partitions(): Promise<readonly string[]> {
    const found = await Promise.all(this.#redis.nodes().map((node) => partitionsOf(node)));
    return [...new Set(found.flat())];
  }

  async create(
    run: RunRef,
    owner: Ownership,
    initial: RunPatch & { readonly definition: string },
    options?: { readonly ignoreStopMark?: boolean },
  ): Promise<CreateResult> {
    checkPatch(initial);
    // Not in one round trip with the rest: a former owner's create must write nothing, and taking it back afterwards
    // could meet a new owner that has seen it.
    if ((await this.#index('indexAdd', run, owner)) === 'fenced') return { result: 'fenced' };
    const reply = await this.#redis.run(SCRIPTS.create, allKeys(run), [
      owner.epoch,
      this.format,
      owner.partition,
      options?.ignoreStopMark === true ? '1' : '0',
      initial.outboxFrom ?? 1,
      ...patchArgs(initial),
    ]);
    switch (reply.tag) {
      case 'created':
        return { result: 'created' };
      case 'exists': {
        const [fields, definition] = reply.rest;
        const meta = metaReply(fields);
        if (isRetiredReply(fields) || meta.partition !== owner.partition) await this.#index('indexRemove', run, owner);
        return { result: 'exists', meta, definition: textReply(definition) };
      }
      case 'stop-marked':
      case 'fenced':
        await this.#index('indexRemove', run, owner);
        return { result: reply.tag };
      default:
        throw unknownTag('create', reply);
    }
  }

  async claim(run: RunRef, owner: Ownership): Promise<ClaimResult> {
    checkCount('epoch', owner.epoch);
    const { meta, def, steps, outbox, inbox } = runKeys(run);
    const args = [owner.epoch, owner.partition, FENCE_MS, ...STATE_FORMATS];
    const reply = await this.#redis.run(SCRIPTS.claim, [meta, def, steps, outbox, inbox], args);
    switch (reply.tag) {
      case 'claimed':
        return await this.#claimed(run, owner, reply);
      case 'missing':
      case 'fenced':
        return { result: reply.tag };
      case 'unknown-format':
        return { result: 'unknown-format', format: numberReply(reply.rest[0]) };
      default:
        throw unknownTag('claim', reply);
    }
  }

  async commit(run: RunRef, epoch: number, revision: number, patch: RunPatch): Promise<CommitResult> {
    checkPatch(patch);
    checkCount('epoch', epoch);
    checkCount('revision', revision);
    const { meta, def, steps, context, outbox } = runKeys(run);
    const reply = await this.#redis.run(
      SCRIPTS.commit,
      [meta, def, steps, context, outbox],
      [epoch, revision, patch.acknowledged ?? '', patch.outboxFrom ?? '', ...patchArgs(patch)],
    );
    switch (reply.tag) {
      case 'ok':
      case 'fenced':
      case 'missing':
        return { result: reply.tag };
      case 'behind':
        return { result: 'behind', revision: numberReply(reply.rest[0]) };
      default:
        throw unknownTag('commit', reply);
    }
  }

  async readOutputs(run: RunRef, names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const { context } = runKeys(run);
    const found = new Map<string, string>();
    if (names.length === 0) return found;
    const values = listReply(await this.#redis.command(context, 'hmget', [context, ...names]));
    names.forEach((name, index) => {
      const value = values[index];
      if (value !== null) found.set(name, textReply(value));
    });
    return found;
  }

  async readAllOutputs(run: RunRef): Promise<ReadonlyMap<string, string>> {
    const { context } = runKeys(run);
    return recordReply(await this.#redis.command(context, 'hgetall', [context]));
  }

  async read(run: RunRef): Promise<StoredRun | undefined> {
    const { meta, def, steps, outbox } = runKeys(run);
    const reply = await this.#redis.run(SCRIPTS.read, [meta, def, steps, outbox], []);
    return reply.tag === 'found' ? storedRunReply(reply.rest) : undefined;
  }

  async retire(run: RunRef, owner: Ownership, retentionMs: number): Promise<'ok' | 'fenced'> {
    const keepMs = Math.ceil(retentionMs);
    const args = [owner.epoch, owner.partition, keepMs, metaRetentionMs(keepMs)];
    // Asked beforehand, so that a former owner changes nothing. One that becomes it between these calls lets a run go
    // that is over anyhow; the new owner finds it in the index, claims it (which wakes it) and retires it again.
    if ((await this.#index('indexCheck', run, owner)) === 'fenced') return 'fenced';
    const reply = await this.#redis.run(SCRIPTS.retire, allKeys(run), args);
    return reply.tag === 'fenced' ? 'fenced' : this.#index('indexRemove', run, owner);
  }

  async note(run: RunRef, partition: string, text: string): Promise<void> {
    checkNote(text);
    const channel = this.#channelOf(partition);
    const { meta, inbox } = runKeys(run);
    const { tag } = await this.#redis.run(SCRIPTS.note, [meta, inbox], [text, NOTES_MAX]);
    if (tag !== 'ok') return;
    // It is kept; whether somebody is woken as well is not this call's promise.
    await this.#redis.command(inbox, 'publish', [channel, noteMessage(run, text)]).catch(() => undefined);
  }

  async notes(run: RunRef): Promise<readonly string[]> {
    const { inbox } = runKeys(run);
    return listReply(await this.#redis.command(inbox, 'lrange', [inbox, 0, -1])).map(textReply);
  }

  onTaken(listener: (by: Ownership) => void): () => void {
    return this.#listeners.onTaken(listener);
  }

  onNote(listener: NoteListener): () => void {
    return this.#listeners.add(listener);
  }

  async markStopped(run: RunRef, ttlMs: number): Promise<void> {
    await this.#redis.run(SCRIPTS.markStopped, [runKeys(run).meta], [Math.ceil(ttlMs)]);
  }

  close(): Promise<void> {
    this.#listeners.clear();
    this.#notes.end();
    return this.#redis.close();
  }

  async #claimed(run: RunRef, owner: Ownership, { rest }: TaggedReply): Promise<ClaimResult> {
    const stored = storedRunReply(rest);
    const notes = listReply(rest[4]).map(textReply);
    if (!isRetiredReply(rest[0])) return { result: 'claimed', run: { ...stored, notes } };
    const reopened = await this.#reopen(run, owner);
    if (reopened !== 'ok') return { result: reopened };
    return { result: 'claimed', run: { ...stored, meta: { ...stored.meta, epoch: owner.epoch }, notes } };
  }

  async #reopen(run: RunRef, owner: Ownership): Promise<'ok' | 'fenced' | 'missing'> {
    if ((await this.#index('indexAdd', run, owner)) === 'fenced') return 'fenced';
    const { tag } = await this.#redis.run(SCRIPTS.reopen, allKeys(run), [owner.epoch]);
    return tag === 'ok' || tag === 'missing' ? tag : 'fenced';
  }

  async #index(
    change: 'indexAdd' | 'indexCheck' | 'indexRemove',
    run: RunRef,
    owner: Ownership,
  ): Promise<'ok' | 'fenced'> {
    const { epoch, active } = partitionKeys(owner.partition);
    const reply = await this.#redis.run(SCRIPTS[change], [epoch, active], [owner.epoch, runName(run)]);
    return reply.tag === 'ok' ? 'ok' : 'fenced';
  }
}

function allKeys(run: RunRef): readonly string[] {
  const { meta, def, steps, context, outbox, inbox } = runKeys(run);
  return [meta, def, steps, context, outbox, inbox];
}

/** The layout that patch.lua reads. */
function patchArgs(patch: RunPatch): (string | number)[] {
  const meta = Object.entries(patch.meta ?? {});
  const steps = Object.entries(patch.steps ?? {});
  const outputs = Object.entries(patch.outputs ?? {});
  const events = patch.events ?? [];
  const args: (string | number)[] = [meta.length, steps.length, outputs.length, events.length];
  args.push(patch.definition === undefined ? '0' : '1');
  for (const pairs of [meta, steps, outputs]) for (const [name, value] of pairs) args.push(name, value);
  for (const event of events) args.push(event);
  if (patch.definition !== undefined) args.push(patch.definition);
  return args;
}

function unknownTag(script: string, reply: TaggedReply): Error {
  return new Error(`the script ${script} answered ${JSON.stringify(reply.tag)}`);
}
