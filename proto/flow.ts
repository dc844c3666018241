/**
 * A flow as it is written: the steps of a START, and a flow file (design 3.1, 3.6). Parsing finds every problem at
 * once and never throws. What the words mean together (references, cycles, plugins) is the scheduler's business.
 *
 * Producers write every absent value as null; a null or empty field uses nothing.
 */
import { z } from 'zod';
import { nearestName, pluginIdSchema, stepIdSchema } from './ids.ts';
import type { Json, JsonObject } from './json.ts';
import { VALUE_TYPES, type ValueType, valueTypeSchema } from './manifest.ts';
import { pluginVersionProblem } from './plugin-version.ts';

/** More steps than a START of 1 MB can hold (about 3,800) or a flow of 16 MiB should. */
export const MAX_FLOW_STEPS = 100_000;
/** Branches and children may nest; a real flow never comes near it. */
export const MAX_STEP_NESTING = 16;

export interface StepConfig {
  readonly timeoutMs?: number;
  readonly retryCount?: number;
  readonly retryDelayMs?: number;
}

/** One step as written, absent values left out. */
export interface WrittenStep {
  readonly stepId: string;
  readonly pluginId?: string;
  readonly type: 'ACTION' | 'DECISION';
  readonly inputs: JsonObject;
  readonly outputs: Readonly<Record<string, ValueType>>;
  readonly dependsOn: readonly string[];
  readonly pluginVersion?: string;
  readonly config: StepConfig;
  readonly condition?: string;
  readonly branches: readonly WrittenBranch[];
  readonly children: readonly WrittenStep[];
  /** Fields of design 4.6 that this release does not run yet, by name; a flow that uses one is refused. */
  readonly unsupported: readonly string[];
}

export interface WrittenBranch {
  readonly branchId: string;
  readonly condition?: string;
  readonly steps: readonly WrittenStep[];
}

export interface FlowInputDeclaration {
  readonly type: ValueType;
  readonly required: boolean;
  readonly default?: Json;
  readonly description?: string;
}

export type ParsedSteps = { ok: true; steps: readonly WrittenStep[] } | UnreadableSteps;

/** What could be read is given too, so that the rest is judged at the same time and all problems are told at once. */
export interface UnreadableSteps {
  readonly ok: false;
  readonly problems: readonly string[];
  readonly steps: readonly WrittenStep[];
  /** Ids of the steps that are not among `steps`: others may refer to them. */
  readonly unreadable: ReadonlySet<string>;
}

const typeNameSchema = z.string().transform((text, context): ValueType => {
  const lower = text.toLowerCase();
  const known = VALUE_TYPES.find((type) => type === lower);
  if (known !== undefined) return known;
  context.addIssue(
    `"${text.slice(0, 40)}" is no type; use one of ${VALUE_TYPES.map((type) => type.toUpperCase()).join(', ')}`,
  );
  return z.NEVER;
});
const pluginVersionSchema = z
  .string('must be text, in quotes where YAML reads a number')
  .superRefine((text, context) => {
    const problem = text === '' ? undefined : pluginVersionProblem(text);
    if (problem !== undefined) context.addIssue(problem);
  });
const countSchema = z
  .number()
  .int()
  .min(0)
  .max(2 ** 31 - 1)
  .nullish();
const configSchema = z.object({ timeoutMs: countSchema, retryCount: countSchema, retryDelayMs: countSchema });

/** A step as written, one level of it. */
export const stepSchema = z.object({
  stepId: stepIdSchema,
  pluginId: pluginIdSchema.nullish(),
  type: z.enum(['ACTION', 'DECISION'], 'must be ACTION or DECISION').nullish(),
  inputs: z.record(z.string().max(256), z.json()).nullish(),
  outputs: z.record(z.string().max(256), typeNameSchema).nullish(),
  dependsOn: z.array(stepIdSchema).nullish(),
  pluginVersion: pluginVersionSchema.nullish(),
  config: configSchema.nullish(),
  condition: z.string().max(65_536).nullish(),
  branches: z.array(z.unknown()).nullish(),
  children: z.array(z.unknown()).nullish(),
});
const branchSchema = z.object({
  branchId: z.string().max(128),
  condition: z.string().max(65_536).nullish(),
  steps: z.array(z.unknown()),
});

/** Step fields of design 4.6 that belong to later issues. */
const LATER_FIELDS = ['trigger', 'forEach', 'retry', 'onFailure', 'subFlow', 'concurrency', 'timeouts'] as const;

/** Reads the `steps` of a START or of a flow file. Problems name the place: `steps[3] (resize): inputs.width …`. */
export function parseSteps(value: unknown): ParsedSteps {
  const problems: string[] = [];
  const unreadable = new Set<string>();
  const steps = parseStepList(value, 'steps', 0, problems, { left: MAX_FLOW_STEPS, unreadable });
  return problems.length === 0 ? { ok: true, steps } : { ok: false, problems, steps, unreadable };
}

/** Of one reading: how many steps it may still meet, and the ids of those that it could not read. */
interface StepReading {
  left: number;
  readonly unreadable: Set<string>;
}

function parseStepList(
  value: unknown,
  place: string,
  depth: number,
  problems: string[],
  reading: StepReading,
): WrittenStep[] {
  if (!Array.isArray(value)) {
    problems.push(`${place}: must be a list of steps`);
    return [];
  }
  if (depth > MAX_STEP_NESTING) {
    problems.push(`${place}: nested deeper than ${MAX_STEP_NESTING} levels`);
    return [];
  }
  const steps: WrittenStep[] = [];
  for (const [index, item] of value.entries()) {
    if (--reading.left < 0) {
      problems.push(`${place}: more than ${MAX_FLOW_STEPS} steps`);
      break;
    }
    const step = parseStep(item, `${place}[${index}]`, depth, problems, reading);
    if (step !== undefined) steps.push(step);
  }
  return steps;
}

function parseStep(
  value: unknown,
  place: string,
  depth: number,
  problems: string[],
  reading: StepReading,
): WrittenStep | undefined {
  const parsed = stepSchema.safeParse(value);
  if (!parsed.success) {
    const given = typeof value === 'object' && value !== null && 'stepId' in value ? String(value.stepId) : undefined;
    if (given !== undefined) reading.unreadable.add(given);
    const id = given === undefined ? '' : ` (${given.slice(0, 128)})`;
    for (const issue of parsed.error.issues) {
      const field = issue.path.length > 0 ? `${issue.path.join('.')}: ` : '';
      problems.push(`${place}${id}: ${field}${issue.message}`);
    }
    return undefined;
  }
  const written = parsed.data;
  const here = `${place} (${written.stepId})`;
  return {
    stepId: written.stepId,
    ...(written.pluginId ? { pluginId: written.pluginId } : {}),
    type: written.type ?? 'ACTION',
    inputs: written.inputs ?? {},
    outputs: written.outputs ?? {},
    dependsOn: written.dependsOn ?? [],
    ...(written.pluginVersion ? { pluginVersion: written.pluginVersion } : {}),
    config: usedConfig(written.config ?? {}),
    ...(written.condition ? { condition: written.condition } : {}),
    branches: (written.branches ?? []).flatMap((branch, index) =>
      parseBranch(branch, `${here}.branches[${index}]`, depth, problems, reading),
    ),
    children: written.children ? parseStepList(written.children, `${here}.children`, depth + 1, problems, reading) : [],
    unsupported: LATER_FIELDS.filter((field) => isUsed((value as Record<string, unknown>)[field])),
  };
}

function parseBranch(
  value: unknown,
  place: string,
  depth: number,
  problems: string[],
  reading: StepReading,
): WrittenBranch[] {
  const parsed = branchSchema.safeParse(value);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) problems.push(`${place}.${issue.path.join('.')}: ${issue.message}`);
    return [];
  }
  const { branchId, condition, steps } = parsed.data;
  return [
    {
      branchId,
      ...(condition ? { condition } : {}),
      steps: parseStepList(steps, `${place}.steps`, depth + 1, problems, reading),
    },
  ];
}

/** 0 means "not set" in the existing producer's config. */
function usedConfig(config: { [K in keyof StepConfig]?: number | null | undefined }): StepConfig {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => typeof value === 'number' && value > 0));
}

function isUsed(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === false) return false;
  if (Array.isArray(value)) return value.length > 0;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}

const flowInputSchema = z.strictObject({
  type: valueTypeSchema,
  required: z.boolean().default(true),
  default: z.json().optional(),
  description: z.string().max(1024).optional(),
});

/** A flow file without its steps. */
export const flowFileSchema = z.looseObject({
  flowId: z.string().regex(/^[A-Za-z0-9._-]{1,128}$/, 'must be 1 to 128 characters of A-Z a-z 0-9 . _ -'),
  inputs: z.record(z.string().max(256), flowInputSchema).nullish(),
  steps: z.unknown(),
});
const FLOW_FILE_KEYS = ['flowId', 'inputs', 'steps'];

export interface FlowFile {
  readonly flowId: string;
  readonly inputs: Readonly<Record<string, FlowInputDeclaration>>;
  /** As written; `parseSteps` reads them. */
  readonly steps: Json;
}

export type ParsedFlowFile =
  | { ok: true; flow: FlowFile }
  /** With `flow` all but its steps could be read: `ownProblems` are those of `problems` that are not of the steps. */
  | { ok: false; problems: readonly string[]; ownProblems: readonly string[]; flow?: FlowFile };

/** Checks a flow file that YAML or JSON was already read from. A key that we do not know is a problem here. */
export function parseFlowFile(value: unknown): ParsedFlowFile {
  const parsed = flowFileSchema.safeParse(value);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'flow'}: ${issue.message}`);
    return { ok: false, problems, ownProblems: problems };
  }
  const ownProblems = Object.keys(parsed.data)
    .filter((key) => !FLOW_FILE_KEYS.includes(key))
    .map((key) => {
      const near = nearestName(key, FLOW_FILE_KEYS);
      return `${key}: unknown key${near === undefined ? '' : `; did you mean ${near}?`}`;
    });
  const flow: FlowFile = {
    flowId: parsed.data.flowId,
    inputs: omitUndefined(parsed.data.inputs ?? {}),
    steps: parsed.data.steps as Json, // they came out of a JSON or YAML document
  };
  const steps = parseSteps(flow.steps);
  const problems = steps.ok ? ownProblems : [...ownProblems, ...steps.problems];
  return problems.length > 0 ? { ok: false, problems, ownProblems, flow } : { ok: true, flow };
}

function omitUndefined(inputs: Record<string, z.output<typeof flowInputSchema>>): Record<string, FlowInputDeclaration> {
  const entries = Object.entries(inputs).map(([name, { default: preset, description, ...rest }]) => [
    name,
    {
      ...rest,
      ...(preset === undefined ? {} : { default: preset }),
      ...(description === undefined ? {} : { description }),
    },
  ]);
  return Object.fromEntries(entries);
}
