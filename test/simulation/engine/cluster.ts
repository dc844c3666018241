/** Everything of one simulation, put together from a scenario: store, broker, hosts, engines, and the checks that watch them. */
import { Broker, COMMANDS, DEAD_LETTERS, OUTCOMES, partitionOf, STATUS } from '../broker/broker.ts';
import { Group } from '../broker/group.ts';
import { CodeCheck } from '../checks/code-check.ts';
import { StoreCheck } from '../checks/store-check.ts';
import { TopicCheck } from '../checks/topic-check.ts';
import { Truth } from '../checks/truth.ts';
import { Violations } from '../checks/violation.ts';
import { FLOW_ID } from '../plan/flows.ts';
import type { PlannedCommand, Scenario } from '../plan/scenario.ts';
import type { World } from '../world/world.ts';
import { EngineNode } from './engine-node.ts';
import { HostServer } from './host-server.ts';
import { STORE_MAY_LOSE_MS, StoreServer } from './store-server.ts';

const STATUS_PARTITIONS = 2;
/** Of the engine's errors in the log, those that a fault of the world explains. */
const EXPLAINED_ERRORS = [/the store (?:does not hold|went back)/, /could not be opened again/];

export class Cluster {
  readonly world: World;
  readonly truth = new Truth();
  readonly violations: Violations;
  readonly broker: Broker;
  readonly group: Group;
  readonly store: StoreServer;
  readonly code: CodeCheck;
  readonly nodes: readonly EngineNode[];
  readonly sharedHosts: readonly HostServer[];
  /** Paths to hosts that were cut, with when. */
  readonly #cuts: { readonly host: number; readonly atMs: number }[] = [];

  constructor(world: World, scenario: Scenario) {
    this.world = world;
    this.violations = new Violations(({ guarantee, what }) =>
      world.tell('checks', `${guarantee} is violated: ${what}`),
    );
    const { truth, violations } = this;
    const mayLose = scenario.durabilityDelayMs > 0;
    const topics = new TopicCheck({ world, truth, violations, storeMayLoseMs: mayLose ? STORE_MAY_LOSE_MS : 0 });
    this.broker = new Broker(
      world,
      { [COMMANDS]: scenario.partitions, [STATUS]: STATUS_PARTITIONS, [OUTCOMES]: 1, [DEAD_LETTERS]: 1 },
      (appended) => topics.appended(appended),
    );
    this.group = new Group(
      world,
      () => this.broker.partitionCount(COMMANDS),
      (partition, offset) => topics.offsetCommitted(this.broker, partition, this.group.committed(partition), offset),
    );
    this.store = new StoreServer(world, { mayLose });
    this.store.data.witness = new StoreCheck(world, truth, violations);
    this.code = new CodeCheck({ world, truth, violations, wasReachable: (code) => this.#wasReachable(code.host) });
    const startHost = (name: string, isShared: boolean) =>
      new HostServer({
        ...{ world, name, isShared, witness: this.code },
        maxAttempts: scenario.hostAttempts,
        faultChance: scenario.hostFaultChance,
        restartMs: () => world.chance.ms(100, isShared ? 5_000 : 600),
      });
    this.sharedHosts = Array.from({ length: scenario.sharedHosts }, (_, index) => startHost(`host-${index}`, true));
    const delays = world.chance.stream('delays');
    const delayMs = () => {
      const kind = delays.next();
      if (kind < 0.92) return delays.ms(0.05, 1.5);
      return kind < 0.99 ? delays.ms(1, 20) : delays.ms(1, scenario.slowestMs);
    };
    this.nodes = Array.from({ length: scenario.engines }, (_, index) => {
      const around = {
        ...{ world, broker: this.broker, group: this.group, store: this.store, delayMs, witness: this.code },
        durabilityDelayMs: scenario.durabilityDelayMs,
        format: index === 0 ? scenario.format : scenario.otherFormat,
        sharedHosts: this.sharedHosts,
        startHost: (home: string) => startHost(`own-${home}`, false),
        onErrorLog: (node: string, fields: object, message: string) => this.#errorLogged(node, fields, message),
      };
      return new EngineNode(`engine-${index}`, around);
    });
  }

  /** A producer's record: it is in the topic when this returns. */
  send(command: PlannedCommand): void {
    const { id, kind, runId, flow, value, isMisplaced } = command;
    const key = `${FLOW_ID}:${runId}`;
    this.truth.commands.set(id, { id, kind, run: key });
    if (flow !== undefined) this.truth.run(key).flows.push(flow);
    const count = this.broker.partitionCount(COMMANDS);
    const home = partitionOf(runId, count);
    const partition = isMisplaced ? this.world.chance.whole(0, count - 1) : home;
    this.broker.append(COMMANDS, partition, [{ key: Buffer.from(runId), value: Buffer.from(value) }], 'producer');
  }

  cutHost(engine: number, host: number): void {
    this.#cuts.push({ host, atMs: this.world.nowMs });
    this.nodes[engine]?.paths[host]?.cut();
  }

  #wasReachable(instance: string): boolean {
    const host = this.sharedHosts.findIndex((server) => server.current()?.instance === instance);
    return host >= 0 && !this.#cuts.some((cut) => cut.host === host);
  }

  #errorLogged(node: string, fields: object, message: string): void {
    const thrown = 'err' in fields && fields.err instanceof Error ? ` ${fields.err.stack ?? fields.err.message}` : '';
    this.world.tell(node, `error: ${message}${thrown}`);
    if (EXPLAINED_ERRORS.some((pattern) => pattern.test(message))) return;
    this.violations.report('bug', `${node} says: ${message}${thrown}`);
  }
}
