/**
 * One scenario from its first START to its verdict: engines of its own on a common ground, load, faults in the middle of
 * it, then patience until nothing more comes, an orderly end, and the checker. A scenario that hangs is judged as it is.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '@flowops/proto/errors.ts';
import type { StatusEvent } from '@flowops/proto/statuses.ts';
import { type FreshRedis, freshRedis } from '../services/redis.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { Chance } from './chance.ts';
import { check } from './checker.ts';
import { keepEvidence } from './evidence.ts';
import { type Ground, PARTITIONS } from './ground.ts';
import { Load } from './load.ts';
import { makeNodes, type Nodes } from './nodes.ts';
import type { ProcessNode } from './process-node.ts';
import type { Arena, Scenario, ScenarioCall, ScenarioReport } from './scenario.ts';
import { Wire } from './wire.ts';

/** Nothing was told for this long, and no fault is under way: what has not ended will not. */
const STALL_MS = 60_000;
/** However it goes: a scenario ends within this. */
const SCENARIO_MAX_MS = 8 * 60_000;
/** After the last end: what must not run any more gets the time to show that it does. */
const LINGER_MS = 2500;
/** Longer than any DRAIN_MS here and what follows it. */
const END_MAX_MS = 150_000;

export async function runScenario(scenario: Scenario, call: ScenarioCall): Promise<ScenarioReport> {
  const running = await RunningScenario.open(scenario, call);
  try {
    return await running.run();
  } finally {
    await running.close();
  }
}

class RunningScenario implements Arena {
  readonly ground: Ground;
  readonly chance: Chance;
  readonly wire: Wire;
  readonly nodes: Nodes;
  readonly #scenario: Scenario;
  readonly #call: ScenarioCall;
  readonly #folder: string;
  readonly #database: FreshRedis;
  readonly #load: Load;
  readonly #over = new AbortController();
  readonly #startedMs = performance.now();
  readonly #faults: string[] = [];
  readonly #notes: string[] = [];
  #eventAtMs = performance.now();
  #mostInFlight = 0;

  static async open(scenario: Scenario, call: ScenarioCall): Promise<RunningScenario> {
    const { ground } = call;
    ground.effects.clear();
    const database = await freshRedis(ground.redis.url);
    const id = randomUUID().slice(0, 8);
    const topics = {
      ...{ commands: `${id}.commands`, status: `${id}.status` },
      ...{ outcomes: `${id}.outcomes`, deadLetters: `${id}.dlq` },
    };
    let running: RunningScenario | undefined;
    const onEvent = (event: StatusEvent) => running?.taken(event);
    const wire = await Wire.open({
      brokers: ground.kafka.brokers,
      names: topics,
      commandPartitions: PARTITIONS,
      onEvent,
    });
    const folder = scratchFolder();
    const redisUrl = database.url;
    const onUnexpectedEnd = (text: string) => running?.note(text);
    const nodes = await makeNodes({ scenario, ground, topics, redisUrl, folder, onUnexpectedEnd });
    running = new RunningScenario(scenario, call, { wire, database, folder, nodes });
    return running;
  }

  private constructor(
    scenario: Scenario,
    call: ScenarioCall,
    own: { wire: Wire; database: FreshRedis; folder: string; nodes: Nodes },
  ) {
    const chance = new Chance(call.seed);
    this.#scenario = scenario;
    this.#call = call;
    this.ground = call.ground;
    this.wire = own.wire;
    this.nodes = own.nodes;
    this.#database = own.database;
    this.#folder = own.folder;
    this.#load = new Load({
      total: Math.min(call.runs, scenario.maxRuns ?? call.runs),
      inFlight: call.inFlight,
      chance: chance.fork(),
      ...(scenario.pace === undefined ? {} : { pace: scenario.pace }),
      send: (commands) => this.wire.send(commands),
    });
    this.chance = chance.fork();
  }

  taken(event: StatusEvent): void {
    this.#eventAtMs = performance.now();
    this.#load.take(event);
    this.#mostInFlight = Math.max(this.#mostInFlight, this.#load.inFlight);
  }

  async fault(what: string, act: () => Promise<unknown> | unknown): Promise<void> {
    const line = `${this.#seconds()} s, ${Math.round(100 * this.#load.endedShare)} % ended: ${what}`;
    this.#faults.push(line);
    this.#call.say(`    ${line}`);
    await act();
  }

  reached(share: number): Promise<void> {
    return this.#load.until(() => this.#load.endedShare >= share, this.#over.signal);
  }

  async wait(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#over.signal });
  }

  async burst(count: number): Promise<void> {
    await this.fault(`${count} runs are started at once`, () => this.#load.burst(count));
  }

  async run(): Promise<ScenarioReport> {
    const limit = setTimeout(() => this.#giveUp('the scenario took too long'), SCENARIO_MAX_MS);
    let isInFaults = true;
    const stall = setInterval(() => {
      const silentMs = performance.now() - this.#eventAtMs;
      if (silentMs > (isInFaults ? 2 : 1) * STALL_MS)
        this.#giveUp(`nothing was told for ${Math.round(silentMs / 1000)} s`);
    }, 1000);
    try {
      await Promise.all(this.nodes.hosts.map((host) => host.start()));
      await Promise.all(this.nodes.engines.map((engine) => engine.start()));
      this.#load.start();
      await this.#scenario.faults(this);
      isInFaults = false;
      await this.#load.until(() => this.#load.isOver, this.#over.signal);
      await sleep(LINGER_MS);
    } catch (thrown) {
      if (!this.#over.signal.aborted) throw thrown;
      this.note(messageOf(this.#over.signal.reason));
      if (isInFaults) await this.#mendAll();
    } finally {
      clearTimeout(limit);
      clearInterval(stall);
    }
    await this.#endInOrder();
    return this.#judge();
  }

  /** What cannot be ended keeps nothing else from it. */
  async close(): Promise<void> {
    this.#over.abort();
    await this.#load.close();
    const { engines, hosts, hostRelays } = this.nodes;
    await Promise.allSettled([...engines, ...hosts].map((node) => node.close()));
    await Promise.allSettled([...hostRelays.flat().map((relay) => relay.close()), this.wire.close()]);
    await this.#database.release();
    removeFolder(this.#folder);
  }

  /** Engines end as they should, so that nothing is told later than it was read. */
  async #endInOrder(): Promise<void> {
    await this.#load.close();
    await Promise.all(this.nodes.engines.map((engine) => this.#end(engine)));
    await Promise.all(this.nodes.hosts.map((host) => this.#end(host)));
    await this.wire.catchUp();
  }

  async #end(node: ProcessNode): Promise<void> {
    const giveUp = new AbortController();
    const end = await Promise.race([node.terminate(), sleep(END_MAX_MS, undefined, { signal: giveUp.signal })]);
    giveUp.abort();
    if (end === undefined) this.note(`${node.name} did not end within ${END_MAX_MS / 1000} s after SIGTERM`);
    else if (end.code !== 0)
      this.note(`${node.name} ended with ${end.signal ?? `exit code ${end.code}`} after SIGTERM`);
    await node.close();
  }

  /** After faults that were left in the middle. */
  async #mendAll(): Promise<void> {
    const { relays, redis, kafka } = this.ground;
    for (const node of [...this.nodes.engines, ...this.nodes.hosts]) node.thaw();
    for (const relay of [...relays.flatMap((pair) => [pair.kafka, pair.redis]), ...this.nodes.hostRelays.flat()])
      relay.mend();
    redis.thaw();
    await Promise.all([redis.restart(), kafka.restart()]);
  }

  #judge(): ScenarioReport {
    const { name, allowance } = this.#scenario;
    const { records } = this.wire;
    const effects = this.ground.effects.effects;
    const { violations, figures } = check({
      ...{ runs: this.#load.runs, records, effects },
      allowance: { codes: [], reruns: true, overlaps: false, ...allowance },
    });
    const report = {
      ...{ name, seed: this.#call.seed, violations, figures, faults: this.#faults, notes: this.#notes },
      ...{ inFlight: this.#mostInFlight, seconds: Number(this.#seconds()) },
    };
    if (violations.length === 0) return { ...report, evidence: undefined };
    const nodes = [...this.nodes.engines, ...this.nodes.hosts];
    return { ...report, evidence: keepEvidence({ report, runs: this.#load.runs, records, effects, nodes }) };
  }

  #giveUp(why: string): void {
    this.#over.abort(new Error(why));
  }

  note(text: string): void {
    const line = `${this.#seconds()} s: ${text}`;
    this.#notes.push(line);
    this.#call.say(`    note: ${line}`);
  }

  #seconds(): string {
    return ((performance.now() - this.#startedMs) / 1000).toFixed(1);
  }
}
