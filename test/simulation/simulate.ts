/**
 * One seed from beginning to end: the world it stands for is set up, its commands are sent and its faults happen; when all
 * faults are over everything that was accepted has to come to its end. The checks look on at every step.
 */

import { unfinished } from './checks/end-check.ts';
import type { Violation } from './checks/violation.ts';
import { applyFault } from './engine/apply-fault.ts';
import { Cluster } from './engine/cluster.ts';
import type { Fault, FaultKind } from './plan/faults.ts';
import { controlCommand, FLOW_ID } from './plan/flows.ts';
import { planScenario, type Scenario } from './plan/scenario.ts';
import { Chance } from './world/chance.ts';
import type { SimProcess } from './world/process.ts';
import { leaveRealWorld } from './world/real-world.ts';
import { Trace } from './world/trace.ts';
import { World } from './world/world.ts';

export interface Simulated {
  readonly seed: number;
  readonly violation: Violation | undefined;
  /** The same for the same seed. */
  readonly digest: string;
  readonly runs: number;
  readonly happenings: number;
  readonly events: number;
  readonly attempts: number;
  /** Of the first engine's first process, to the outside. */
  readonly calls: number;
  readonly faults: readonly (FaultKind | 'store-loses')[];
  /** Simulated time, ms. */
  readonly tookMs: number;
  /** Runs whose store lost writes that nobody was left to repeat. */
  readonly excused: number;
}

/** After the last fault, all that was accepted has this long: leases, sessions and backoffs fit in several times. */
const PATIENCE_MS = 300_000;
const CALM_AFTER_MS = 2_000;
/** Looks at the end are dear. */
const LOOK_EVERY = 25;
/** A pause that nobody ends by command is ended this often. */
const RESUME_EVERY_MS = 15_000;

export interface SimulateOptions {
  /** In place of the one that the seed stands for. */
  readonly scenario?: Scenario;
  readonly print?: (line: string) => void;
}

export async function simulate(seed: number, options: SimulateOptions = {}): Promise<Simulated> {
  const scenario = options.scenario ?? planScenario(seed);
  const chance = new Chance(seed);
  const world = new World(chance, new Trace(options.print));
  const backToRealWorld = leaveRealWorld(world, chance.stream('Math.random'));
  const onRejection = (thrown: unknown) => cluster.violations.report('bug', `nobody takes ${describe(thrown)}`);
  process.on('unhandledRejection', onRejection);
  const cluster = new Cluster(world, scenario);
  let firstProcess: SimProcess | undefined;
  try {
    for (const node of cluster.nodes) await node.start();
    firstProcess = cluster.nodes[0]?.process;
    await play(cluster, scenario);
  } catch (thrown) {
    cluster.violations.report('bug', describe(thrown));
  } finally {
    process.off('unhandledRejection', onRejection);
    backToRealWorld();
  }
  const runs = [...cluster.truth.runs.values()];
  return {
    seed,
    violation: cluster.violations.first,
    digest: world.trace.digest(),
    runs: runs.filter(({ writes }) => writes.length > 0).length,
    happenings: world.happenings,
    events: runs.reduce((sum, run) => sum + run.events.length, 0),
    attempts: cluster.code.count,
    calls: firstProcess?.calls ?? 0,
    faults: scenario.faults.map((fault) => ('lostMs' in fault && fault.lostMs > 0 ? 'store-loses' : fault.kind)),
    tookMs: world.nowMs,
    excused: runs.filter(({ isExcused }) => isExcused).length,
  };
}

async function play(cluster: Cluster, scenario: Scenario): Promise<void> {
  const { world, violations } = cluster;
  world.tell('scenario', describeScenario(scenario));
  for (const command of scenario.commands) world.at(command.atMs, () => cluster.send(command));
  for (const fault of scenario.faults) world.at(fault.atMs, () => applyFault(cluster, fault));
  const sentMs = scenario.commands.at(-1)?.atMs ?? 0;
  const calmMs = CALM_AFTER_MS + Math.max(sentMs, ...scenario.faults.map(overMs));
  resumeAll(cluster, scenario, calmMs);
  let looks = 0;
  const isOver = () => {
    if (violations.first !== undefined) return true;
    if (world.nowMs < calmMs || looks++ % LOOK_EVERY !== 0) return false;
    return unfinished(cluster).length === 0;
  };
  await world.run({ isOver, forMs: calmMs + PATIENCE_MS, afterEach: () => undefined });
  const left = unfinished(cluster);
  if (left.length > 0) violations.report('G1', `all faults are over, and still ${left.join('; ')}`);
}

/** Runs that were paused and not resumed. */
function resumeAll(cluster: Cluster, scenario: Scenario, calmMs: number): void {
  const paused = new Set(scenario.commands.flatMap(({ kind, runId }) => (kind === 'PAUSE' ? [runId] : [])));
  let count = scenario.commands.length;
  const resume = () => {
    for (const runId of paused) {
      if (cluster.store.data.peek(`${FLOW_ID}:${runId}`)?.fields.get('status') !== 'PAUSED') continue;
      const id = `c${count++}`;
      const value = controlCommand('RESUME', runId, id);
      cluster.send({ id, kind: 'RESUME', runId, flow: undefined, atMs: 0, isMisplaced: false, value });
    }
    cluster.world.at(RESUME_EVERY_MS, resume);
  };
  if (paused.size > 0) cluster.world.at(calmMs, resume);
}

function overMs(fault: Fault): number {
  const beginsMs = fault.kind === 'crash-engine' ? fault.atMs + fault.withinMs : fault.atMs;
  return beginsMs + ('forMs' in fault ? fault.forMs : 'downMs' in fault ? fault.downMs : 0);
}

function describeScenario({ commands, faults, ...rest }: Scenario): string {
  return JSON.stringify({ ...rest, commands: commands.length, faults: faults.length });
}

function describe(thrown: unknown): string {
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
}
