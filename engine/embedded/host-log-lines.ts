/** The log of the sandbox host (JSON lines, in pieces) as lines of the engine's own log, with their level and fields. */
import { z } from 'zod';
import type { Log } from '../log.ts';

/** pino's numbers. A fatal line is told by the failed start itself. */
const LEVELS = { fatal: 60, error: 50, warn: 40, info: 30 } as const;
/** A line without an end is passed on in pieces of this length. */
const LINE_MAX_CHARS = 64 * 1024;

const lineSchema = z.looseObject({ level: z.number(), msg: z.string() });

/** Takes the host's log in pieces. */
export function hostLogLines(log: Log): (text: string) => void {
  let rest = '';
  return (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > LINE_MAX_CHARS) {
      lines.push(rest);
      rest = '';
    }
    for (const line of lines) if (line.trim() !== '') tell(log, line);
  };
}

function tell(log: Log, line: string): void {
  // What is none may be a warning of Node itself.
  const read: HostLine = readLine(line) ?? { level: LEVELS.warn, msg: line };
  const { level, msg, time: _time, name: _name, pid: _pid, ...fields } = read;
  const message = `sandbox host: ${msg}`;
  if (level >= LEVELS.fatal) return;
  if (level >= LEVELS.error) log.error(fields, message);
  else if (level >= LEVELS.warn) log.warn(fields, message);
  else if (level >= LEVELS.info) log.info(fields, message);
  else log.debug(fields, message);
}

type HostLine = z.output<typeof lineSchema>;

function readLine(line: string): HostLine | undefined {
  try {
    return lineSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
