/**
 * Flows for chaos: small graphs whose steps each pass a text on, so that the text a step must be given follows from the
 * graph alone. What each step of chaos.work does is in its inputs.
 */
import { randomUUID } from 'node:crypto';
import type { Json } from '@flowops/proto/json.ts';
import type { Chance } from './chance.ts';
import type { SentStep } from './observation.ts';
import { outputOf, WORK_PLUGIN } from './work-plugin.ts';

export interface Flow {
  readonly flowId: string;
  readonly runId: string;
  /** As a command holds them. */
  readonly commandSteps: Json;
  readonly steps: readonly SentStep[];
}

export interface Pace {
  /** How long a step works. */
  readonly minMs: number;
  readonly maxMs: number;
  /** How many of the steps work ten times as long, so that every fault meets some. */
  readonly longShare: number;
  /** How many of the steps do not heed a STOP, and have to be killed. */
  readonly deafShare: number;
}

export const DEFAULT_PACE: Pace = { minMs: 10, maxMs: 150, longShare: 0.08, deafShare: 0.2 };

/** stepId → the steps before it. In an order in which they can run. */
type Shape = readonly (readonly [string, readonly string[]])[];

const SHAPES: readonly Shape[] = [
  [['only', []]],
  [
    ['first', []],
    ['second', ['first']],
    ['third', ['second']],
  ],
  [
    ['top', []],
    ['left', ['top']],
    ['right', ['top']],
    ['bottom', ['left', 'right']],
  ],
  [
    ['one', []],
    ['two', []],
    ['both', ['one', 'two']],
    ['after', ['both']],
    ['last', ['after', 'one']],
  ],
];
const BEAT_MS = 100;
const LONG_FACTOR = 10;

export function makeFlow(flowId: string, chance: Chance, pace: Pace): Flow {
  const inputs = new Map<string, string>();
  const steps: SentStep[] = [];
  const commandSteps: Json[] = [];
  for (const [stepId, after] of chance.pick(SHAPES)) {
    const input = after.length === 0 ? stepId : after.map((before) => outputOf(inputs.get(before) ?? '')).join('+');
    inputs.set(stepId, input);
    steps.push({ stepId, after, input });
    const text = after.length === 0 ? stepId : after.map((before) => `\${${before}.text}`).join('+');
    commandSteps.push(workStep(stepId, { text, ...work(chance, pace) }));
  }
  return { flowId, runId: randomUUID(), commandSteps, steps };
}

function work(chance: Chance, pace: Pace): Readonly<Record<string, string>> {
  const ms = chance.between(pace.minMs, pace.maxMs) * (chance.isLuckyIn(pace.longShare) ? LONG_FACTOR : 1);
  return { ms: String(ms), beatMs: String(BEAT_MS), deaf: String(chance.isLuckyIn(pace.deafShare)) };
}

/** As the existing producer writes it, absent values as null. */
function workStep(stepId: string, inputs: Readonly<Record<string, string>>): Json {
  return {
    ...{ stepId, pluginId: WORK_PLUGIN, type: 'ACTION', inputs, outputs: {} },
    ...{ condition: null, branches: null, children: null, config: null },
  };
}
