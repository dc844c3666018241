/** What a seed stands for: how large the world is, which commands are sent when, and what goes wrong when. */
import { Chance } from '../world/chance.ts';
import { type Fault, planFaults } from './faults.ts';
import { controlCommand, type PlannedFlow, planFlow, startCommand } from './flows.ts';

export interface PlannedCommand {
  readonly id: string;
  readonly kind: 'START' | 'STOP' | 'PAUSE' | 'RESUME' | 'garbage';
  readonly runId: string;
  readonly flow: PlannedFlow | undefined;
  readonly atMs: number;
  /** Not where its key belongs. */
  readonly isMisplaced: boolean;
  readonly value: string;
}

export interface Scenario {
  readonly seed: number;
  readonly engines: number;
  readonly partitions: number;
  /** 0: each engine starts a host of its own. */
  readonly sharedHosts: number;
  readonly hostAttempts: number;
  readonly hostFaultChance: number;
  readonly durabilityDelayMs: number;
  /** The first engine writes this format, the others the other. */
  readonly format: 1 | 2;
  readonly otherFormat: 1 | 2;
  /** The slowest single message, ms. */
  readonly slowestMs: number;
  readonly commands: readonly PlannedCommand[];
  readonly faults: readonly Fault[];
}

const COMMANDS_WITHIN_MS = 4_000;

export function planScenario(seed: number): Scenario {
  const chance = new Chance(seed).stream('scenario');
  const engines = chance.whole(1, 3);
  const partitions = chance.whole(1, 4);
  const sharedHosts = chance.happens(0.35) ? 0 : chance.whole(1, 2);
  const durabilityDelayMs = chance.happens(0.5) ? 2_500 : 0;
  const commands = planCommands(chance);
  const mayLose = durabilityDelayMs > 0;
  return {
    seed,
    engines,
    partitions,
    sharedHosts,
    hostAttempts: chance.whole(2, 8),
    hostFaultChance: chance.happens(0.2) ? 0.1 : 0,
    durabilityDelayMs,
    format: chance.pick([1, 2] as const),
    otherFormat: chance.pick([1, 2] as const),
    slowestMs: chance.pick([20, 100, 600, 2_500]),
    commands,
    faults: planFaults(chance, { engines, sharedHosts, mayLose }),
  };
}

function planCommands(chance: Chance): readonly PlannedCommand[] {
  const commands: PlannedCommand[] = [];
  const add = (kind: PlannedCommand['kind'], flow: PlannedFlow, atMs: number) => {
    const id = `c${commands.length}`;
    const value =
      kind === 'START'
        ? startCommand(flow, id)
        : kind === 'garbage'
          ? `garbage ${id}`
          : controlCommand(kind, flow.runId, id);
    const isMisplaced = kind !== 'garbage' && chance.happens(0.06);
    commands.push({ id, kind, runId: flow.runId, flow: kind === 'START' ? flow : undefined, atMs, isMisplaced, value });
  };
  const runs = chance.whole(1, 5);
  for (let run = 0; run < runs; run++) {
    const flow = planFlow(chance, `run-${run}`);
    const startMs = chance.ms(0, COMMANDS_WITHIN_MS);
    add('START', flow, startMs);
    if (chance.happens(0.12)) add('START', flow, startMs + chance.ms(0, 3_000));
    if (chance.happens(0.05)) add('START', planFlow(chance, flow.runId), startMs + chance.ms(0, 3_000));
    if (chance.happens(0.2)) {
      const pauseMs = startMs + chance.ms(-100, 2_000);
      add('PAUSE', flow, pauseMs);
      if (chance.happens(0.7)) add('RESUME', flow, pauseMs + chance.ms(0, 6_000));
    }
    if (chance.happens(0.25)) add('STOP', flow, startMs + chance.ms(-200, 8_000));
    if (chance.happens(0.05)) add('STOP', flow, startMs + chance.ms(0, 12_000));
  }
  if (chance.happens(0.1)) add('garbage', planFlow(chance, 'none'), chance.ms(0, COMMANDS_WITHIN_MS));
  if (chance.happens(0.1)) add('STOP', planFlow(chance, 'nobody'), chance.ms(0, COMMANDS_WITHIN_MS));
  return commands.sort((a, b) => a.atMs - b.atMs);
}
