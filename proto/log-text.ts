/**
 * A plugin's log line for a person, the same in `sandbox run` and `flowops run`: time, level, message, fields. Pure. The
 * plugin's text goes through showControls before a colour of ours is put around it.
 */
import type { LogLine } from './attempt.ts';
import { showControls } from './terminal-text.ts';

/** Fields of one log line, on a terminal; `--json` has them whole. */
const MAX_FIELDS_CHARS = 2000;
/** 31 December 9999: later ones have no four-digit year. The wire's times are 64 bits wide. */
const MAX_TIME_MS = Date.UTC(9999, 11, 31);

export interface ReportedLine {
  /** ISO-8601, UTC, host clock. */
  readonly time: string;
  readonly level: LogLine['level'];
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** SGR numbers; info is what everything else is read against. */
const COLOURS: Readonly<Record<LogLine['level'], number | undefined>> = {
  debug: 2,
  info: undefined,
  warn: 33,
  error: 31,
};
const DIM = 2;

export function reportedLine({ timeMs, level, message, fields }: LogLine): ReportedLine {
  const time = new Date(Math.min(timeMs, MAX_TIME_MS)).toISOString();
  return { time, level, message, fields: fields ?? {} };
}

/** `12:00:00.123 warn  disk is nearly full  free=12 of="40 GB"`, in UTC like every time of ours. */
export function logText({ time, level, message, fields }: ReportedLine, hasColour = false): string {
  const paint = (colour: number | undefined, text: string) =>
    hasColour && colour !== undefined && text !== '' ? `\x1b[${colour}m${text}\x1b[0m` : text;
  const clock = time.slice('2026-01-01T'.length, -1);
  const parts = Object.entries(fields).map(([name, value]) => `${showControls(name)}=${fieldText(value)}`);
  const tail = parts.join(' ');
  const shownTail = tail.length > MAX_FIELDS_CHARS ? `${tail.slice(0, MAX_FIELDS_CHARS)}…` : tail;
  const said = paint(COLOURS[level], `${level.padEnd(5)} ${showControls(message)}`);
  return `${paint(DIM, clock)} ${said}${tail === '' ? '' : `  ${paint(DIM, shownTail)}`}`;
}

/** Whether a stream of this process shows colours: a terminal, and no NO_COLOR. */
export function takesColour(stream: { readonly isTTY?: boolean }): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR;
}

function fieldText(value: unknown): string {
  return showControls(typeof value === 'string' && /^[\w.:/-]+$/.test(value) ? value : JSON.stringify(value));
}
