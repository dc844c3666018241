/**
 * Commands: the JSON on `execution.commands` (design 3.1), as today's services write it. One parser for every way in.
 * The envelope (what, which run) is read here; the steps of a START are read by `parseSteps`, so that a flow with
 * mistakes is answered as such and not treated as an unreadable message.
 */
import { z } from 'zod';
import { runIdSchema } from './ids.ts';
import { isJsonObject, type JsonObject, parseJson } from './json.ts';

/** What Kafka takes by default and what this engine reads from a topic, bytes (design 4.3). */
export const MAX_COMMAND_BYTES = 1024 * 1024;

export type CommandKind = 'START' | 'STOP' | 'PAUSE' | 'RESUME';

interface CommandBase {
  readonly flowId: string;
  readonly runId: string;
  readonly triggeredBy: string | null;
  /** The message's own time, epoch ms; null when absent or unreadable. For people, never for decisions. */
  readonly timestampMs: number | null;
  /** Why, in the sender's words (ours). */
  readonly reason: string | null;
}

export interface StartCommand extends CommandBase {
  readonly kind: 'START';
  /** As written; `parseSteps` reads it. */
  readonly steps: unknown;
  /** The run's own inputs (ours). */
  readonly inputs: JsonObject;
  /** Higher first, default 0 (ours). */
  readonly priority: number;
}

export interface ControlCommand extends CommandBase {
  readonly kind: 'STOP' | 'PAUSE' | 'RESUME';
}

export type Command = StartCommand | ControlCommand;

export type ParsedCommand =
  | { ok: true; command: Command; unknownFields: readonly string[] }
  /** `runId` and `flowId` where they could be read, so that an outcome can be told. */
  | { ok: false; problem: string; flowId?: string; runId?: string };

const KINDS: Readonly<Record<string, CommandKind>> = {
  EXECUTION_START: 'START',
  EXECUTION_STOP: 'STOP',
  EXECUTION_PAUSE: 'PAUSE',
  EXECUTION_RESUME: 'RESUME',
  START: 'START',
  STOP: 'STOP',
  PAUSE: 'PAUSE',
  RESUME: 'RESUME',
};
const FIELDS = new Set([
  'eventType',
  'flowId',
  'runId',
  'triggeredBy',
  'timestamp',
  'steps',
  'inputs',
  'priority',
  'reason',
]);

const envelopeSchema = z.object({
  eventType: z.string(),
  flowId: runIdSchema,
  runId: runIdSchema,
  triggeredBy: z.string().max(1024).nullish(),
  timestamp: z.union([z.string().max(64), z.number()]).nullish(),
  steps: z.unknown().optional(),
  inputs: z.record(z.string().max(256), z.json()).nullish(),
  priority: z.number().int().nullish(),
  reason: z.string().max(4096).nullish(),
});

/** Reads a message value. Never throws; the problem is one sentence for the dead letter and the log. */
export function parseCommand(text: string): ParsedCommand {
  if (text.length > MAX_COMMAND_BYTES || Buffer.byteLength(text) > MAX_COMMAND_BYTES) {
    return {
      ok: false,
      problem: `the command has more than ${MAX_COMMAND_BYTES} bytes; start larger flows by HTTP or \`flowops run\``,
    };
  }
  let parsed = parseJson(text);
  // Some Spring producers encode twice: a JSON string that holds the object.
  if (parsed.ok && typeof parsed.value === 'string') parsed = parseJson(parsed.value);
  if (!parsed.ok) return { ok: false, problem: `the value is not JSON: ${parsed.problem}` };
  if (!isJsonObject(parsed.value)) return { ok: false, problem: 'the value is not a JSON object' };
  return readCommand(parsed.value);
}

/** Reads a command that is already an object (HTTP, CLI, library). */
export function readCommand(value: JsonObject): ParsedCommand {
  const checked = envelopeSchema.safeParse(value);
  if (!checked.success) {
    const problem = checked.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
    return { ok: false, problem, ...readableIds(value) };
  }
  const { eventType, flowId, runId, triggeredBy, timestamp, steps, inputs, priority, reason } = checked.data;
  const kind = Object.hasOwn(KINDS, eventType) ? KINDS[eventType] : undefined;
  if (kind === undefined) {
    const known = Object.keys(KINDS).slice(0, 4).join(', ');
    return { ok: false, problem: `eventType "${eventType.slice(0, 64)}" is unknown; known: ${known}`, flowId, runId };
  }
  const base = {
    flowId,
    runId,
    triggeredBy: triggeredBy ?? null,
    timestampMs: readTimestamp(timestamp ?? null),
    reason: reason ?? null,
  };
  const unknownFields = Object.keys(value).filter((key) => !FIELDS.has(key));
  if (kind !== 'START') return { ok: true, command: { kind, ...base }, unknownFields };
  return { ok: true, command: { kind, ...base, steps, inputs: inputs ?? {}, priority: priority ?? 0 }, unknownFields };
}

/** ISO-8601 text, or epoch seconds with decimals as Jackson writes an Instant by default. */
export function readTimestamp(value: string | number | null): number | null {
  if (value === null) return null;
  const ms = typeof value === 'number' ? Math.round(value * 1000) : Date.parse(value);
  return Number.isFinite(ms) ? ms : null;
}

function readableIds(value: JsonObject): { flowId?: string; runId?: string } {
  const { flowId, runId } = value;
  return {
    ...(runIdSchema.safeParse(flowId).success ? { flowId: String(flowId) } : {}),
    ...(runIdSchema.safeParse(runId).success ? { runId: String(runId) } : {}),
  };
}
