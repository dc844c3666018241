/**
 * One scenario from its first START to its verdict: engines of its own on a common ground, load, faults in the middle of
 * it, then patience until nothing more comes, an orderly end, and the checker. A scenario that hangs is judged as it is.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '@flowops/proto/errors.ts';
import { type FreshRedis, freshRedis } from '../services/redis.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { ROOT } from '../support/clone.ts';
import { Chance } from './chance.ts';
import { check, type Verdict } from './checker.ts';
import { type Ground, PARTITIONS } from './ground.ts';
import { Load } from './load.ts';
import type { Allowance } from './observation.ts';
import { ProcessNode } from './process-node.ts';
import { Wire } from './wire.ts';
import { policyFor } from './work-plugin.ts';

/** Nothing was told for this long, and no fault is under way: what has not ended will not. */
const STALL_MS = 60_000;
/** However it goes: a scenario ends within this. */
const SCENARIO_MAX_MS = 8 * 60_000;
/** After the last end: what must not run any more gets the time to show that it does. */
const LINGER_MS = 2500;
/** Longer than DRAIN_MS and what follows it. */
const END_MAX_MS = 90_000;
/** Isolate workers of an engine: few, so that three engines fit on a small machine. */
const WORKERS = '2';
const ENGINE_READY = '"msg":"the engine is ready"';

export interface Scenario {
  readonly name: string;
  readonly about: string;
  /** Default 3. */
  readonly engines?: number;
  /** Engines reach Kafka and Redis through relays that `faults` may hold or cut. */
  readonly isRelayed?: boolean;
  /** Default: reruns. */
  readonly allowance?: Partial<Allowance>;
  readonly env?: Readonly<Record<string, string>>;
  /** What happens while the load goes on. */
  faults(arena: Arena): Promise<void>;
}

export interface Arena {
  readonly ground: Ground;
  readonly engines: readonly ProcessNode[];
  readonly wire: Wire;
  readonly chance: Chance;
  /** Does it, counts it and notes it with its time. */
  fault(what: string, act: () => Promise<unknown> | unknown): Promise<void>;
  /** Resolves when this share of all runs has ended. */
  reached(share: number): Promise<void>;
  wait(ms: number): Promise<void>;
  /** Starts so many of the runs now, however many are in flight. */
  burst(count: number): Promise<void>;
}

export interface ScenarioCall {
  readonly ground: Ground;
  readonly seed: number;
  readonly runs: number;
  readonly inFlight: number;
  readonly say: (line: string) => void;
}

export interface ScenarioReport extends Verdict {
  readonly name: string;
  readonly seed: number;
  readonly faults: readonly string[];
  /** What went otherwise than asked for, and breaks no promise. */
  readonly notes: readonly string[];
  /** The most runs that were in flight at one moment. */
  readonly inFlight: number;
  readonly seconds: number;
  /** Where everything seen is kept, when something was violated. */
  readonly evidence: string | undefined;
}

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
  readonly engines: readonly ProcessNode[];
  readonly wire: Wire;
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
    const names = {
      ...{ commands: `${id}.commands`, status: `${id}.status` },
      ...{ outcomes: `${id}.outcomes`, deadLetters: `${id}.dlq` },
    };
    let running: RunningScenario | undefined;
    const onEvent = (event: Parameters<Load['take']>[0]) => running?.taken(event);
    const wire = await Wire.open({ brokers: ground.kafka.brokers, names, commandPartitions: PARTITIONS, onEvent });
    running = new RunningScenario(scenario, call, { wire, database });
    return running;
  }

  private constructor(scenario: Scenario, call: ScenarioCall, own: { wire: Wire; database: FreshRedis }) {
    const chance = new Chance(call.seed);
    this.#scenario = scenario;
    this.#call = call;
    this.ground = call.ground;
    this.wire = own.wire;
    this.#database = own.database;
    this.#folder = scratchFolder();
    this.engines = Array.from({ length: scenario.engines ?? 3 }, (_, index) => this.#engine(index));
    this.#load = new Load({
      total: call.runs,
      inFlight: call.inFlight,
      chance: chance.fork(),
      send: (commands) => this.wire.send(commands),
    });
    this.chance = chance.fork();
  }

  taken(event: Parameters<Load['take']>[0]): void {
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
      await Promise.all(this.engines.map((engine) => engine.start()));
      this.#load.start();
      await this.#scenario.faults(this);
      isInFaults = false;
      await this.#load.until(() => this.#load.isOver, this.#over.signal);
      await sleep(LINGER_MS);
    } catch (thrown) {
      if (!this.#over.signal.aborted) throw thrown;
      this.#note(messageOf(this.#over.signal.reason));
      if (isInFaults) await this.#mendAll();
    } finally {
      clearTimeout(limit);
      clearInterval(stall);
    }
    await this.#endInOrder();
    return this.#judge();
  }

  async close(): Promise<void> {
    this.#over.abort();
    await this.#load.close();
    await Promise.all(this.engines.map((engine) => engine.close()));
    await this.wire.close();
    await this.#database.release();
    removeFolder(this.#folder);
  }

  /** Engines end as they should, so that nothing is told later than it was read. */
  async #endInOrder(): Promise<void> {
    await this.#load.close();
    const ends = this.engines.map(async (engine) => {
      const giveUp = new AbortController();
      const end = await Promise.race([engine.terminate(), sleep(END_MAX_MS, undefined, { signal: giveUp.signal })]);
      giveUp.abort();
      if (end === undefined) this.#note(`${engine.name} did not end within ${END_MAX_MS / 1000} s after SIGTERM`);
      else if (end.code !== 0)
        this.#note(`${engine.name} ended with ${end.signal ?? `exit code ${end.code}`} after SIGTERM`);
      await engine.close();
    });
    await Promise.all(ends);
    await this.wire.catchUp();
  }

  /** After faults that were left in the middle. */
  async #mendAll(): Promise<void> {
    const { relays, redis, kafka } = this.ground;
    for (const engine of this.engines) engine.thaw();
    for (const relay of relays.flatMap((pair) => [pair.kafka, pair.redis])) relay.mend();
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
    return { ...report, evidence: violations.length === 0 ? undefined : this.#keep(report) };
  }

  /** Everything that the verdict is made from, and the engines' logs beside it. */
  #keep(report: object): string {
    const folder = join(ROOT, '.cache', 'chaos', `${this.#scenario.name}-${this.#call.seed}`);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const write = (name: string, lines: readonly string[]) =>
      writeFileSync(join(folder, name), `${lines.join('\n')}\n`);
    write('report.json', [JSON.stringify(report, null, 2)]);
    write(
      'runs.jsonl',
      this.#load.runs.map((run) => JSON.stringify(run)),
    );
    write(
      'records.jsonl',
      this.wire.records.map((record) => JSON.stringify(record)),
    );
    write(
      'effects.jsonl',
      this.ground.effects.effects.map((effect) => JSON.stringify(effect)),
    );
    for (const engine of this.engines) write(`${engine.name.replace(' ', '-')}.log`, engine.log());
    return folder;
  }

  #engine(index: number): ProcessNode {
    const { ground } = this;
    const relays = this.#scenario.isRelayed === true ? ground.relays[index] : undefined;
    const redisUrl = new URL(this.#database.url);
    if (relays !== undefined) redisUrl.port = String(relays.redis.port);
    const { names } = this.wire;
    const policy = join(this.#folder, 'policy.yaml');
    writeFileSync(policy, policyFor(ground.effects.place));
    return new ProcessNode({
      name: `engine ${index + 1}`,
      args: ['engine'],
      ready: ENGINE_READY,
      folder: join(this.#folder, `engine-${index + 1}`),
      env: {
        KAFKA_BROKERS: relays === undefined ? ground.kafka.brokers : `127.0.0.1:${relays.kafka.port}`,
        KAFKA_GROUP_ID: names.commands,
        KAFKA_COMMANDS_TOPIC: names.commands,
        KAFKA_STATUS_TOPIC: names.status,
        KAFKA_OUTCOMES_TOPIC: names.outcomes,
        KAFKA_DLQ_TOPIC: names.deadLetters,
        REDIS_URL: redisUrl.href,
        PLUGIN_SERVICE_ADDRESS: ground.registry.address,
        SANDBOX_POLICY: policy,
        SANDBOX_WORKERS: WORKERS,
        HTTP_PORT: '0',
        ...this.#scenario.env,
      },
      onUnexpectedEnd: (text) => this.#note(text),
    });
  }

  #giveUp(why: string): void {
    this.#over.abort(new Error(why));
  }

  #note(text: string): void {
    const line = `${this.#seconds()} s: ${text}`;
    this.#notes.push(line);
    this.#call.say(`    note: ${line}`);
  }

  #seconds(): string {
    return ((performance.now() - this.#startedMs) / 1000).toFixed(1);
  }
}
