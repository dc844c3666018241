/**
 * What `sandbox run` prints: log lines as they come, the outputs, the receipt against its limits, and the one object of
 * `--json` (docs/schemas/sandbox-run.json). Pure. A plugin's text goes through showControls wherever a terminal may be.
 */
import type { LogLine } from '@flowops/proto/attempt.ts';
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import { type Receipt, receiptSchema } from '@flowops/proto/receipt.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import { z } from 'zod';

/** Fields of one log line, on a terminal; `--json` has them whole. */
const MAX_FIELDS_CHARS = 2000;
const MIB = 1024 * 1024;
/** 31 December 9999: later ones have no four-digit year. The wire's times are 64 bits wide. */
const MAX_TIME_MS = Date.UTC(9999, 11, 31);

export const runReportSchema = z.strictObject({
  status: z.enum(['COMPLETED', 'FAILED']),
  code: z.string().nullable(),
  error: z.string().nullable(),
  outputs: z.record(z.string(), z.json()),
  logs: z.array(
    z.strictObject({
      time: z.iso.datetime(),
      level: z.enum(['debug', 'info', 'warn', 'error']),
      message: z.string(),
      fields: z.record(z.string(), z.json()),
    }),
  ),
  receipt: receiptSchema.nullable(),
});

/** The one object of `sandbox run --json`. */
export interface RunReport {
  readonly status: 'COMPLETED' | 'FAILED';
  readonly code: ErrorCode | null;
  readonly error: string | null;
  readonly outputs: JsonObject;
  readonly logs: readonly ReportedLine[];
  readonly receipt: Receipt | null;
}

export interface ReportedLine {
  /** ISO-8601, UTC, host clock. */
  readonly time: string;
  readonly level: LogLine['level'];
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export function reportedLine({ timeMs, level, message, fields }: LogLine): ReportedLine {
  const time = new Date(Math.min(timeMs, MAX_TIME_MS)).toISOString();
  return { time, level, message, fields: fields ?? {} };
}

/** The text of an object for stdout. Same JSON, but nothing in it steers a terminal. */
export function jsonLine(value: object): string {
  // Inside JSON text these characters stand in strings only, where an escape means the same.
  return JSON.stringify(value).replace(/[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, index) => escapeUnit(character.charCodeAt(index))).join(''),
  );
}

function escapeUnit(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`;
}

/** `12:00:00.123 warn  disk is nearly full  free=12 of="40 GB"`, in UTC like every time of ours. */
export function logText({ time, level, message, fields }: ReportedLine): string {
  const clock = time.slice('2026-01-01T'.length, -1);
  const parts = Object.entries(fields).map(([name, value]) => `${showControls(name)}=${fieldText(value)}`);
  const tail = parts.join(' ');
  const shownTail = tail.length > MAX_FIELDS_CHARS ? `${tail.slice(0, MAX_FIELDS_CHARS)}…` : tail;
  return `${clock} ${level.padEnd(5)} ${showControls(message)}${tail === '' ? '' : `  ${shownTail}`}`;
}

function fieldText(value: unknown): string {
  return showControls(typeof value === 'string' && /^[\w.:/-]+$/.test(value) ? value : JSON.stringify(value));
}

export function progressText({ fraction, message }: { fraction: number; message: string }): string {
  const percent = `${Math.round(Math.min(1, Math.max(0, fraction)) * 100)} %`;
  return message === '' ? percent : `${percent.padStart(5)}  ${showControls(message)}`;
}

export function outputsText(outputs: JsonObject): string {
  const entries = Object.entries(outputs);
  if (entries.length === 0) return 'no outputs';
  const width = Math.max(...entries.map(([name]) => showControls(name).length));
  return entries
    .map(([name, value]) => `${showControls(name).padEnd(width)} = ${showControls(JSON.stringify(value))}`)
    .join('\n');
}

/** Figures beside the limit they are held against; what nobody measured is said to be unknown. */
export function receiptText(receipt: Receipt): string {
  const { limits, sources } = receipt;
  const told = (source: 'host' | 'worker') => (source === 'worker' ? ' (told by the worker)' : '');
  const cpu = receipt.cpuMs === null ? 'not measured' : `${ms(receipt.cpuMs)}${told(sources.cpuMs)}`;
  const memory =
    receipt.peakMemoryBytes === null
      ? 'not measured'
      : `${mib(receipt.peakMemoryBytes)} MB${told(sources.peakMemoryBytes)}`;
  const dropped = receipt.droppedLogLines > 0 ? `, ${receipt.droppedLogLines} lines dropped` : '';
  const rows: [string, string][] = [
    ['ran in', `${receipt.tier} tier, ${jailText(receipt.jail)}, ${receipt.runtime}`],
    ['by', `${receipt.rule}, policy ${shortDigest(receipt.policyHash)}`],
    ['bundle', shortDigest(receipt.bundleDigest)],
    [
      'wall',
      `${ms(receipt.runMs)} of ${ms(limits.wallMs)} (queued ${ms(receipt.queueMs)}, start ${ms(receipt.startMs)})`,
    ],
    ['CPU', `${cpu} of ${ms(limits.cpuMs)}`],
    ['memory', `${memory} of ${limits.memoryMb} MB`],
    ['outputs', `${bytes(receipt.bytesOut)} of ${bytes(limits.outputBytes)}`],
    ['log', `at most ${bytes(limits.logBytes)}${dropped}`],
    ['host calls', `${receipt.hostCalls} of ${limits.hostCalls}`],
  ];
  return ['receipt', ...rows.map(([name, text]) => `  ${name.padEnd(10)}  ${text}`)].join('\n');
}

function jailText(jail: Receipt['jail']): string {
  switch (jail) {
    case 'namespaces':
      return 'jailed by namespaces';
    case 'container':
      return 'jailed in a container';
    case 'none':
      return 'NOT jailed (this machine cannot)';
  }
}

function shortDigest(digest: string): string {
  return digest.slice(0, 'sha256:'.length + 12);
}

function ms(value: number): string {
  return value < 10 && !Number.isInteger(value) ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

function mib(value: number): string {
  return (value / MIB).toFixed(1);
}

function bytes(value: number): string {
  return value < 1024 ? `${value} bytes` : value < MIB ? `${(value / 1024).toFixed(1)} KB` : `${mib(value)} MB`;
}
