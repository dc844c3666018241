/** Flows of a simulation: what is sent as a START, and which inputs each of its steps must then be given. */
import type { Kind } from '../hosts/plugin-code.ts';
import { outputOf } from '../hosts/plugin-code.ts';
import type { Chance } from '../world/chance.ts';

export const FLOW_ID = 'flow';
/** No plugin service has it. */
export const MISSING_PLUGIN = 'sim.missing';

export interface PlannedStep {
  readonly stepId: string;
  readonly kind: Kind;
  /** Input as written, with references. */
  readonly text: string;
  readonly after: readonly string[];
  /** What the plugin must be given. */
  readonly input: string;
}

export interface PlannedFlow {
  readonly runId: string;
  readonly steps: readonly PlannedStep[];
  readonly isUnknownPlugin: boolean;
}

const MAX_STEPS = 6;

const KINDS: readonly (readonly [Kind, number])[] = [
  ['quick', 0.78],
  ['slow', 0.13],
  ['bad', 0.04],
  ['hanging', 0.02],
  ['killer', 0.03],
];

export function planFlow(chance: Chance, runId: string): PlannedFlow {
  const count = chance.whole(1, MAX_STEPS);
  const steps: PlannedStep[] = [];
  for (let index = 0; index < count; index++) {
    const stepId = `s${index}`;
    const after = steps.filter(() => chance.happens(0.4)).slice(-2);
    const named = after.filter(() => chance.happens(0.7));
    const text = [`in${index}`, ...named.map((step) => `\${${step.stepId}.text}`)].join(' ');
    const input = [`in${index}`, ...named.map((step) => outputOf(step.stepId, step.input))].join(' ');
    steps.push({ stepId, kind: kindOf(chance), text, after: after.map((step) => step.stepId), input });
  }
  return { runId, steps, isUnknownPlugin: chance.happens(0.03) };
}

/** The command's value. */
export function startCommand(flow: PlannedFlow, triggeredBy: string): string {
  return JSON.stringify({
    eventType: 'EXECUTION_START',
    flowId: FLOW_ID,
    runId: flow.runId,
    triggeredBy,
    timestamp: '2027-01-15T08:00:00Z',
    steps: flow.steps.map(({ stepId, kind, text, after }) => ({
      stepId,
      pluginId: flow.isUnknownPlugin ? MISSING_PLUGIN : `sim.${kind}`,
      type: 'ACTION',
      inputs: { text },
      dependsOn: after,
    })),
  });
}

export function controlCommand(kind: 'STOP' | 'PAUSE' | 'RESUME', runId: string, triggeredBy: string): string {
  return JSON.stringify({
    eventType: `EXECUTION_${kind}`,
    flowId: FLOW_ID,
    runId,
    triggeredBy,
    timestamp: 1_800_000_000.5,
  });
}

function kindOf(chance: Chance): Kind {
  let left = chance.next();
  for (const [kind, share] of KINDS) {
    left -= share;
    if (left < 0) return kind;
  }
  return 'quick';
}
