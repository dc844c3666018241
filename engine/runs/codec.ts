/**
 * Between a run in memory and its text in the store: a draft becomes a patch, a stored run becomes a state. What is
 * written here is read by people too (`HGETALL flow:{…}:meta`), so the fields have plain names. Everything read is
 * parsed: a store can hold what another release or a person wrote.
 */
import { ERROR_CODES, type ErrorCode, isErrorCode } from '@flowops/proto/errors.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import { manifestSchema } from '@flowops/proto/manifest.ts';
import { runKey, type StatusEvent } from '@flowops/proto/statuses.ts';
import { z } from 'zod';
import type { Draft } from '../scheduler/decide.ts';
import type { FlowDefinition } from '../scheduler/definition.ts';
import type { RunState, StepState, StoredRunState } from '../scheduler/state.ts';
import type { RunMeta, RunPatch, StateFormat } from '../store/run-store.ts';

const errorCodeSchema = z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]);

const stepSchema = z.discriminatedUnion('status', [
  z.object({
    status: z.literal('RUNNING'),
    attempt: z.number(),
    faults: z.number(),
    crashes: z.number().default(0),
    token: z.string(),
    host: z.string(),
    startedAtMs: z.number(),
  }),
  z.object({
    status: z.literal('WAITING'),
    attempt: z.number(),
    faults: z.number(),
    crashes: z.number().default(0),
    dueMs: z.number(),
    reason: z.string(),
  }),
  z.object({ status: z.literal('COMPLETED'), attempt: z.number(), startedAtMs: z.number(), endedAtMs: z.number() }),
  z.object({
    status: z.literal('FAILED'),
    attempt: z.number(),
    code: errorCodeSchema,
    error: z.string(),
    endedAtMs: z.number(),
  }),
  z.object({ status: z.enum(['CANCELLED', 'SKIPPED']), attempt: z.number(), endedAtMs: z.number() }),
]) satisfies z.ZodType<StepState>;

const endingSchema = z.object({
  to: z.enum(['FAILED', 'STOPPED']),
  error: z.string().nullable(),
  code: errorCodeSchema.nullable(),
});

const unprovenSchema = z.record(z.string(), z.object({ host: z.string(), untilMs: z.number() }));

const plannedSchema = z.object({
  kind: z.literal('planned'),
  definition: z.object({
    plugins: z.array(
      z.object({
        pluginId: z.string(),
        name: z.string(),
        version: z.string(),
        digest: z.string(),
        inputs: manifestSchema.shape.inputs,
        outputs: manifestSchema.shape.outputs,
      }),
    ),
    steps: z.array(
      z.object({
        stepId: z.string(),
        plugin: z.number().int(),
        inputs: z.record(z.string(), z.json()),
        after: z.array(z.string()),
        timeoutMs: z.number().optional(),
      }),
    ),
    inputs: z.record(z.string(), z.json()),
  }),
});
/** A START as it came, before its plugins were resolved. */
const queuedSchema = z.object({ kind: z.literal('queued'), steps: z.json(), inputs: z.record(z.string(), z.json()) });
const definitionSchema = z.discriminatedUnion('kind', [plannedSchema, queuedSchema]);

export type StoredDefinition =
  | { readonly kind: 'planned'; readonly definition: FlowDefinition }
  | { readonly kind: 'queued'; readonly steps: unknown; readonly inputs: JsonObject };

/** What the shell keeps with a run beside the core's state. */
export interface RunRecord {
  /** SHA-256 of the START's definition, to tell a repeated START from another one. */
  readonly startHash: string;
  readonly priority: number;
  readonly createdMs: number;
  /** Who sent the START: its outcome is told once the flow was checked. */
  readonly startedBy: CommandContext;
  /** By command partition: the START and the last commands answered, oldest first. */
  readonly commands: Readonly<Record<string, readonly AppliedCommand[]>>;
  /** Who paused the run, to be named again when the pause became quiet. Of a queued run: it begins paused. */
  readonly pausedBy: CommandContext | null;
}

const commandContextSchema = z.object({
  triggeredBy: z.string().nullable(),
  via: z.enum(['kafka', 'http', 'cli']),
  reason: z.string().nullable(),
});
export type CommandContext = z.output<typeof commandContextSchema>;

const appliedCommandSchema = z.object({
  /** Kafka's offset, as text. */
  offset: z.string(),
  command: z.string(),
  outcome: z.enum(['ACCEPTED', 'DUPLICATE', 'REJECTED', 'STALE']),
  code: z.string().nullable(),
  message: z.string().nullable(),
  /** Of the record, by Kafka; absent in what older releases wrote. */
  timeMs: z.number().optional(),
});
export type AppliedCommand = z.output<typeof appliedCommandSchema>;

export function encodeQueued(steps: unknown, inputs: JsonObject): string {
  return JSON.stringify({ kind: 'queued', steps, inputs });
}

export function encodePlanned(definition: FlowDefinition): string {
  return JSON.stringify({ kind: 'planned', definition });
}

export function decodeDefinition(text: string): StoredDefinition {
  const parsed = definitionSchema.parse(JSON.parse(text));
  if (parsed.kind === 'queued') return parsed;
  const { plugins, steps, inputs } = parsed.definition;
  return {
    kind: 'planned',
    definition: {
      plugins,
      inputs,
      steps: steps.map(({ timeoutMs, ...step }) => ({ ...step, ...(timeoutMs === undefined ? {} : { timeoutMs }) })),
    },
  };
}

export function encodeRun(run: RunState, format: StateFormat): Record<string, string> {
  return {
    status: run.status,
    ending: run.ending === null ? '' : JSON.stringify(run.ending),
    sequence: String(run.sequence),
    outputBytes: String(run.outputBytes),
    isQuiescent: run.isQuiescent ? '1' : '',
    error: run.error ?? '',
    code: run.code ?? '',
    ...(format === 1 ? {} : encodeUnproven(run)),
  };
}

/** `stop` is for who looks: the run is to be STOPPED, and the end of an attempt is not proven yet. */
function encodeUnproven({ unproven, ending }: RunState): Record<string, string> {
  const isUnconfirmed = ending?.to === 'STOPPED' && unproven.size > 0;
  return {
    unproven: unproven.size === 0 ? '' : JSON.stringify(Object.fromEntries(unproven)),
    stop: isUnconfirmed ? 'unconfirmed' : '',
  };
}

export function encodeRecord(record: Partial<RunRecord>): Record<string, string> {
  const { startHash, priority, createdMs, startedBy, commands, pausedBy } = record;
  return {
    ...(startHash === undefined ? {} : { startHash }),
    ...(priority === undefined ? {} : { priority: String(priority) }),
    ...(createdMs === undefined ? {} : { createdMs: String(createdMs) }),
    ...(startedBy === undefined ? {} : { startedBy: JSON.stringify(startedBy) }),
    ...(commands === undefined ? {} : { commands: JSON.stringify(commands) }),
    ...(pausedBy === undefined ? {} : { pausedBy: pausedBy === null ? '' : JSON.stringify(pausedBy) }),
  };
}

const runFieldsSchema = z.object({
  status: z.enum(['QUEUED', 'RUNNING', 'PAUSED', 'COMPLETED', 'FAILED', 'STOPPED']),
  ending: optionalJson(endingSchema),
  sequence: z.coerce.number().int(),
  outputBytes: z.coerce.number().int(),
  isQuiescent: z.string().transform((text) => text === '1'),
  error: z.string().transform((text) => (text === '' ? null : text)),
  code: z.string().transform((text) => (isErrorCode(text) ? text : null)),
  unproven: optionalJson(unprovenSchema).transform((ends) => new Map(Object.entries(ends ?? {}))),
});
const recordSchema = z.object({
  startHash: z.string(),
  priority: z.coerce.number().int(),
  createdMs: z.coerce.number(),
  startedBy: z.string().transform((text) => commandContextSchema.parse(JSON.parse(text))),
  commands: z
    .string()
    .default('{}')
    .transform((text) => z.record(z.string(), z.array(appliedCommandSchema)).parse(JSON.parse(text))),
  pausedBy: optionalJson(commandContextSchema),
});

/** Empty or absent text is null. */
function optionalJson<Output>(schema: z.ZodType<Output>) {
  return z
    .string()
    .default('')
    .transform((text): Output | null => (text === '' ? null : schema.parse(JSON.parse(text))));
}

export function decodeMeta(meta: RunMeta): { state: StoredRunState; record: RunRecord } {
  return { state: runFieldsSchema.parse(meta.fields), record: recordSchema.parse(meta.fields) };
}

export function decodeSteps(steps: ReadonlyMap<string, string>): Map<string, StepState> {
  const decoded = new Map<string, StepState>();
  for (const [stepId, text] of steps) decoded.set(stepId, stepSchema.parse(JSON.parse(text)));
  return decoded;
}

/** Adds the event's id: written once with its commit, so that a repeat carries the id it had (G3). */
export function encodeEvent(event: StatusEvent, epoch: number): string {
  const { sequence, ...rest } = event;
  return JSON.stringify({ ...rest, sequence, eventId: `${runKey(event)}:${epoch}:${sequence}` });
}

/** What a step's record holds in the run's format: the older one knows no crashes. */
function encodeStep(state: StepState | undefined, format: StateFormat): string {
  if (format > 1 || state === undefined || !('crashes' in state)) return JSON.stringify(state);
  const { crashes: _, ...older } = state;
  return JSON.stringify(older);
}

export interface Writing {
  readonly epoch: number;
  /** Of the run. */
  readonly format: StateFormat;
}

export function encodeDraft(run: RunState, draft: Draft, { epoch, format }: Writing): RunPatch {
  const steps: Record<string, string> = {};
  for (const index of draft.changedSteps) {
    steps[run.graph.stepIds[index] ?? ''] = encodeStep(run.steps.get(index), format);
  }
  return {
    ...(draft.hasRunChanges || draft.events.length > 0 ? { meta: encodeRun(run, format) } : {}),
    ...(draft.changedSteps.size > 0 ? { steps } : {}),
    ...(draft.outputs.size > 0 ? { outputs: Object.fromEntries(draft.outputs) } : {}),
    ...(draft.events.length > 0 ? { events: draft.events.map((event) => encodeEvent(event, epoch)) } : {}),
  };
}

/** Whether an outbox entry goes to the outcomes topic (else it is a status event): we write eventType first. */
export function isOutcomeEntry(entry: string): boolean {
  return entry.startsWith('{"eventType":"COMMAND_OUTCOME"');
}
