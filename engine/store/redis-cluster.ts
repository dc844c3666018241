/**
 * A Redis Cluster: one connection to each primary, each call to the one that holds its slot.
 *
 * It keeps what redis-connection.ts promises: no call waits for a connection, and nothing is sent twice (a redirected
 * call was not executed). While a slot has no primary that answers, calls to it reject and the cluster counts as down;
 * the others are asked who holds the slots until all have one. Nothing is asked while all is well.
 */
import { messageOf } from '@flowops/proto/errors.ts';
import type { Log } from '../log.ts';
import { type ConnectionState, type ConnectOptions, connectRedis, type RedisNode } from './redis-connection.ts';
import { replyCode } from './redis-failure.ts';
import type { RedisServers } from './redis-servers.ts';
import { parseMoved, parseSlots, SLOTS, type SlotRange, slotOf } from './redis-topology.ts';
import { hostLabel, nodeAddress, type RedisAddress, type RedisHost } from './redis-url.ts';
import { StoreUnavailable } from './run-store.ts';

/** How often the nodes are asked while slots are missing: a failover takes seconds at least. */
const ASK_AGAIN_MS = 250;
/** A call follows a slot that moves; more often than this in a row is no cluster that agrees with itself. */
const MAX_REDIRECTS = 4;

export interface ClusterOptions extends ConnectOptions {
  /** A node holds no slots any more. */
  readonly onDropped: (label: string) => void;
}

/** @throws StoreUnavailable when no node answers, or one of the primaries does not, FlowopsError when `admit` refuses one */
export async function connectCluster(address: RedisAddress, options: ClusterOptions): Promise<RedisServers> {
  const cluster = new RedisCluster(address, options);
  try {
    await cluster.start();
    return cluster;
  } catch (thrown) {
    await cluster.close();
    throw thrown;
  }
}

/** A primary, and the connection to it once there is one. */
interface Member {
  readonly host: RedisHost;
  readonly connecting: Promise<RedisNode>;
  node: RedisNode | undefined;
}

class RedisCluster implements RedisServers {
  readonly label: string;
  readonly #address: RedisAddress;
  readonly #options: ClusterOptions;
  readonly #log: Log;
  readonly #listeners = new Set<(state: ConnectionState) => void>();
  readonly #members = new Map<string, Member>();
  /** Slot → member. */
  readonly #holders: (Member | undefined)[] = Array.from({ length: SLOTS });
  readonly #told = new Set<string>();
  #state: ConnectionState = 'down';
  #refreshing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(address: RedisAddress, options: ClusterOptions) {
    this.label = address.label;
    this.#address = address;
    this.#options = options;
    this.#log = options.log;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  onState(listener: (state: ConnectionState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async start(): Promise<void> {
    this.#install(await this.#askSeeds());
    const members = [...this.#members.values()];
    await Promise.all(members.map(({ connecting }) => connecting));
    this.#judge();
    const missing = this.#holders.indexOf(undefined);
    if (missing !== -1) {
      throw new StoreUnavailable(
        `the cluster at ${this.label} has no node for slot ${missing}: repair it (redis-cli --cluster check)`,
      );
    }
  }

  run: RedisServers['run'] = (script, keys, args) =>
    this.#onHolder(keys[0] ?? '', (node) => node.run(script, keys, args));

  command: RedisServers['command'] = (key, name, args) => this.#onHolder(key, (node) => node.command(name, args));

  nodes(): readonly RedisNode[] {
    return [...this.#members.values()].flatMap(({ node }) => node ?? []);
  }

  hosts(): readonly [RedisHost, ...RedisHost[]] {
    const [first, ...others] = [...this.#members.values()].map(({ host }) => host);
    return first === undefined ? this.#address.hosts : [first, ...others];
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#listeners.clear();
    const members = [...this.#members.values()];
    this.#members.clear();
    await Promise.all(members.map(({ connecting }) => connecting.then((node) => node.close()).catch(() => {})));
  }

  async #onHolder<T>(key: string, call: (node: RedisNode) => Promise<T>): Promise<T> {
    const slot = slotOf(key);
    for (let redirects = 0; redirects < MAX_REDIRECTS; redirects++) {
      const holder = this.#holders[slot];
      if (this.#isClosed) throw new StoreUnavailable(`the connection to Redis at ${this.label} was closed`);
      if (holder?.node === undefined) {
        throw new StoreUnavailable(
          `the cluster at ${this.label} has no node for slot ${slot} now; the engine goes on when it has`,
        );
      }
      try {
        return await call(holder.node);
      } catch (thrown) {
        const target = movedTo(thrown, holder.host);
        if (target === undefined) throw thrown;
        await this.#follow(slot, target);
      }
    }
    throw new StoreUnavailable(`the cluster at ${this.label} does not agree on who holds slot ${slot}`);
  }

  /** A node named another one as the slot's holder: that one for this slot now, and the whole map soon. */
  async #follow(slot: number, target: RedisHost): Promise<void> {
    const member = this.#member(target);
    await member.connecting;
    this.#holders[slot] = member;
    void this.#refresh();
  }

  /** The first answer of the nodes of REDIS_URL; connections to primaries among them are kept. */
  async #askSeeds(): Promise<readonly SlotRange[]> {
    const asks = this.#address.hosts.map(async (host) => {
      const node = await this.#connect(host);
      try {
        return parseSlots(await node.command('cluster', ['SLOTS']), host);
      } finally {
        void node.close();
      }
    });
    try {
      return await Promise.any(asks);
    } catch (thrown) {
      const errors: readonly unknown[] = thrown instanceof AggregateError ? thrown.errors : [thrown];
      throw errors.find((error) => !(error instanceof StoreUnavailable)) ?? errors[0];
    }
  }

  #connect(host: RedisHost): Promise<RedisNode> {
    return connectRedis(nodeAddress(this.#address, host), this.#options);
  }

  #member(host: RedisHost): Member {
    const label = hostLabel(host);
    const known = this.#members.get(label);
    if (known !== undefined) return known;
    const connecting = this.#connect(host);
    const member: Member = { host, connecting, node: undefined };
    this.#members.set(label, member);
    connecting.then(
      (node) => {
        member.node = node;
        if (this.#members.get(label) !== member) return void node.close();
        node.onState(() => this.#judge());
        this.#judge();
      },
      (thrown) => {
        if (this.#members.get(label) === member) this.#members.delete(label);
        this.#warnOnce(`a primary of the cluster is not used: ${messageOf(thrown)}`);
      },
    );
    return member;
  }

  #install(ranges: readonly SlotRange[]): void {
    this.#holders.fill(undefined);
    const held = new Set<string>();
    for (const { from, to, primary } of ranges) {
      const member = this.#member(primary);
      held.add(hostLabel(primary));
      this.#holders.fill(member, from, to + 1);
    }
    for (const [label, member] of this.#members) {
      if (held.has(label)) continue;
      this.#members.delete(label);
      this.#options.onDropped(nodeAddress(this.#address, member.host).label);
      void member.connecting.then((node) => node.close()).catch(() => {});
    }
    this.#judge();
  }

  /** Whether every slot has somebody who answers; else they are asked until it has. */
  #judge(): void {
    if (this.#isClosed) return;
    const isUp = this.#holders.every((holder) => holder?.node?.state === 'up');
    const state = isUp ? 'up' : 'down';
    if (state !== this.#state) {
      this.#state = state;
      for (const listener of [...this.#listeners]) listener(state);
    }
    clearTimeout(this.#timer);
    if (isUp) this.#told.clear();
    else this.#timer = setTimeout(() => void this.#refresh(), ASK_AGAIN_MS);
  }

  #refresh(): Promise<void> {
    this.#refreshing ??= this.#ask()
      .catch((thrown) => this.#warnOnce(messageOf(thrown)))
      .finally(() => {
        this.#refreshing = undefined;
        this.#judge();
      });
    return this.#refreshing;
  }

  /** Once until all is well again: it is tried several times a second. */
  #warnOnce(text: string): void {
    if (this.#isClosed || this.#told.has(text)) return;
    this.#told.add(text);
    this.#log.warn({}, text);
  }

  /** Without an answer all stays as it is. */
  async #ask(): Promise<void> {
    for (const { node, host } of [...this.#members.values()]) {
      if (node?.state !== 'up') continue;
      const reply = await node.command('cluster', ['SLOTS']).catch(() => undefined);
      if (reply === undefined || this.#isClosed) continue;
      return this.#install(parseSlots(reply, host));
    }
    // Nobody that is known is there: all of them may have got new addresses.
    const ranges = await this.#askSeeds().catch(() => undefined);
    if (ranges !== undefined && !this.#isClosed) this.#install(ranges);
  }
}

function movedTo(thrown: unknown, asked: RedisHost): RedisHost | undefined {
  const reply = thrown instanceof Error ? (thrown.cause ?? thrown) : thrown;
  if (!(reply instanceof Error) || replyCode(reply) !== 'MOVED') return undefined;
  return parseMoved(reply.message, asked);
}
