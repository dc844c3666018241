/**
 * One machine that runs an engine: starts its process with everything the engine needs (each over a simulated wire), kills
 * it, stops and wakes it, ends it in order, and starts it anew. The engine is the real one, as engine/app.ts composes it;
 * what engine/service.ts does around it is done here in the same order.
 */
import { startEngine } from '@flowops/engine/app.ts';
import type { Timer, TimerQueue } from '@flowops/engine/base/timers.ts';
import { KafkaDeadLetters } from '@flowops/engine/commands/dead-letters.ts';
import { KafkaForwarder } from '@flowops/engine/commands/forwarding.ts';
import { GroupStanding } from '@flowops/engine/commands/group-standing.ts';
import { StoreCertainty } from '@flowops/engine/commands/store-certainty.ts';
import type { Log } from '@flowops/engine/log.ts';
import { KafkaPublisher } from '@flowops/engine/publishing/kafka-publisher.ts';
import { StoreUnavailable } from '@flowops/engine/store/run-store.ts';
import { type Broker, COMMANDS, DEAD_LETTERS, OUTCOMES, STATUS } from '../broker/broker.ts';
import type { Group } from '../broker/group.ts';
import { SimulatedConsumer } from '../broker/simulated-consumer.ts';
import { SimulatedSender } from '../broker/simulated-sender.ts';
import { Path } from '../hosts/link.ts';
import type { CodeWitness } from '../hosts/plugin-code.ts';
import { type HostAddress, SimulatedSandboxes } from '../hosts/simulated-sandboxes.ts';
import { SimulatedStore } from '../store/simulated-store.ts';
import { SimProcess } from '../world/process.ts';
import { Unreachable, Wire, type WireOptions } from '../world/wire.ts';
import { EPOCH_MS, type World } from '../world/world.ts';
import type { HostServer } from './host-server.ts';
import { SimulatedPlugins } from './simulated-plugins.ts';
import { StoreConnection } from './store-connection.ts';
import type { StoreServer } from './store-server.ts';

const CALL_TIMEOUT_MS = 5_000;
const RETENTION_MS = 10 * 60_000;
const STOP_GRACE_MS = 1_000;
const DRAIN_MS = 3_000;
/** The host that an engine started ends this long after it at most. */
const ORPHANED_HOST_MS = 200;

export type Peer = 'store' | 'kafka' | 'plugins';

export interface NodeSurroundings {
  readonly world: World;
  readonly broker: Broker;
  readonly group: Group;
  readonly store: StoreServer;
  readonly durabilityDelayMs: number;
  /** Of the runs that this engine creates. */
  readonly format: 1 | 2;
  /** Hosts that all engines share; empty: each engine starts one of its own. */
  readonly sharedHosts: readonly HostServer[];
  readonly startHost: (home: string) => HostServer;
  readonly delayMs: () => number;
  readonly witness: CodeWitness;
  /** An engine logged an error: what it should never say is a bug. */
  readonly onErrorLog: (node: string, fields: object, message: string) => void;
}

interface Running {
  readonly process: SimProcess;
  readonly wires: Readonly<Record<Peer, Wire>>;
  readonly terminate: () => Promise<void>;
  readonly sandboxes: SimulatedSandboxes;
  readonly activeCount: () => number;
}

export class EngineNode {
  readonly name: string;
  readonly #around: NodeSurroundings;
  readonly #paths: readonly Path[];
  readonly #cut = new Set<Peer>();
  readonly #ownHosts: HostServer[] = [];
  #boots = 0;
  #running: Running | undefined;

  constructor(name: string, around: NodeSurroundings) {
    this.name = name;
    this.#around = around;
    this.#paths = around.sharedHosts.map((host) => new Path(`${name} to ${host.name}`));
  }

  get process(): SimProcess | undefined {
    return this.#running?.process;
  }

  get isUp(): boolean {
    return this.#running?.process.state === 'running';
  }

  /** Runs in memory. */
  get activeCount(): number {
    return this.#running?.activeCount() ?? 0;
  }

  get paths(): readonly Path[] {
    return this.#paths;
  }

  get ownHost(): HostServer | undefined {
    return this.#ownHosts.at(-1);
  }

  cut(peer: Peer): void {
    this.#cut.add(peer);
    this.#running?.wires[peer].breakDown('the network was cut');
  }

  mend(peer: Peer): void {
    this.#cut.delete(peer);
  }

  kill(): void {
    this.#running?.process.kill();
  }

  /** SIGTERM: resolves when the process has ended. */
  async terminate(): Promise<void> {
    await this.#running?.terminate();
  }

  /** Starts the process anew, when it is gone. */
  async start(): Promise<void> {
    if (this.#running !== undefined && !this.#running.process.isDead) return;
    const { world, broker, store } = this.#around;
    const process = new SimProcess(world, `${this.name}.${++this.#boots}`);
    world.tell(process.name, 'starts');
    const connection = new StoreConnection(
      store,
      this.#wireOptions(process, 'store', () => store.isUp),
    );
    const wires = {
      store: connection.wire,
      kafka: this.#wire(process, 'kafka', () => broker.isUp),
      plugins: this.#wire(process, 'plugins', () => true),
    };
    const pause = (ms: number, signal: AbortSignal) => process.pause(ms, signal);
    const standing = new GroupStanding({ now: () => world.nowMs, pause });
    const log = this.#log(process);
    const sender = new SimulatedSender({ process, wire: wires.kafka, broker, standing });
    const publisher = new KafkaPublisher({
      sender,
      statusTopic: STATUS,
      outcomesTopic: OUTCOMES,
      statusEncoding: 'object',
    });
    const sandboxes = this.#openSandboxes(process, standing);
    const tokens = world.chance.stream(`tokens ${process.name}`);
    const clock = { nowMs: () => process.nowMs() };
    const opened = this.#openStore(process, connection);
    const engine = await startEngine({
      store: opened,
      publisher,
      plugins: new SimulatedPlugins(wires.plugins),
      sandboxes,
      standing,
      log,
      retentionMs: RETENTION_MS,
      stopGraceMs: STOP_GRACE_MS,
      newToken: () => tokens.hex(32),
      time: { clock, timers: new ProcessTimers(process), pause },
    });
    const certainty = new StoreCertainty({
      store: opened,
      verify: () => engine.runs.verified(),
      now: () => world.nowMs,
    });
    const consumer = new SimulatedConsumer({
      process,
      wire: this.#wire(process, 'kafka', () => broker.isUp),
      broker,
      group: this.#around.group,
      sink: engine.runs,
      publisher,
      deadLetters: new KafkaDeadLetters(sender, DEAD_LETTERS),
      forwarder: new KafkaForwarder(sender, COMMANDS),
      certainty,
      standing,
      onLost: (partitions) => publisher.release(partitions.map(String)),
      log,
    });
    const terminate = async () => {
      consumer.stopTaking();
      await engine.drain(DRAIN_MS);
      await consumer.close();
      await engine.close();
      world.tell(process.name, 'has ended in order');
      process.kill();
    };
    this.#running = { process, wires, terminate, sandboxes, activeCount: () => engine.runs.activeCount };
    consumer.start();
  }

  #wire(process: SimProcess, name: Peer, isServerUp: () => boolean): Wire {
    return new Wire(this.#wireOptions(process, name, isServerUp));
  }

  #wireOptions(process: SimProcess, name: Peer, isServerUp: () => boolean): WireOptions {
    const { delayMs } = this.#around;
    const isReachable = () => isServerUp() && !this.#cut.has(name);
    return { process, name, isServerUp: isReachable, delayMs, timeoutMs: CALL_TIMEOUT_MS };
  }

  #openStore(process: SimProcess, connection: StoreConnection): SimulatedStore {
    const { wire } = connection;
    const { store, durabilityDelayMs, format } = this.#around;
    const opened = new SimulatedStore({
      data: store.data,
      channel: store.channel,
      wire: (what, script) =>
        wire.call(what, script).catch((thrown) => {
          throw thrown instanceof Unreachable ? new StoreUnavailable(thrown.message) : thrown;
        }),
      push: (deliver) => wire.push(deliver),
      durability: { description: 'simulated', delayMs: durabilityDelayMs },
      format,
      health: connection,
    });
    process.onDeath(() => void opened.close());
    return opened;
  }

  #openSandboxes(process: SimProcess, standing: GroupStanding): SimulatedSandboxes {
    const { sharedHosts, startHost, delayMs, world, witness } = this.#around;
    const vouches = () => standing.isGood;
    const hasEnded = (instance: string) => this.#ownHosts.some((host) => host.hasEnded(instance));
    if (sharedHosts.length > 0) {
      const addresses = sharedHosts.map((address, index) => ({
        address,
        path: this.#paths[index] ?? new Path('none'),
      }));
      return new SimulatedSandboxes({
        process,
        addresses,
        delayMs,
        vouches,
        hasEnded,
        witness,
        onClose: () => undefined,
      });
    }
    const host = startHost(process.name);
    this.#ownHosts.push(host);
    process.onDeath(() => world.at(world.chance.ms(0, ORPHANED_HOST_MS), () => host.end()));
    const addresses: { address: HostAddress; path: Path }[] = [{ address: host, path: new Path('pipe') }];
    return new SimulatedSandboxes({
      process,
      addresses,
      delayMs,
      vouches,
      hasEnded,
      witness,
      onClose: () => host.end(),
    });
  }

  #log(process: SimProcess): Log {
    const { world, onErrorLog } = this.#around;
    return {
      debug: () => undefined,
      info: (_, message) => world.tell(process.name, `info: ${message}`),
      warn: (_, message) => world.tell(process.name, `warn: ${message}`),
      error: (fields, message) => {
        if (!process.isDead) onErrorLog(process.name, fields, message);
      },
    };
  }
}

/** What engine/base/timers.ts does with one real timer, with a simulated one each. */
class ProcessTimers implements TimerQueue {
  readonly #process: SimProcess;

  constructor(process: SimProcess) {
    this.#process = process;
  }

  arm(dueMs: number, fire: () => void): Timer {
    const timer: Timer = { dueMs, fire, isCancelled: false };
    this.#process.after(Math.ceil(dueMs - EPOCH_MS - this.#process.world.nowMs), () => {
      if (!timer.isCancelled) fire();
    });
    return timer;
  }

  cancel(timer: Timer): void {
    timer.isCancelled = true;
  }
}
