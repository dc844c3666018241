/** The log of a sandbox host (JSON lines, in pieces) as lines for a person at a terminal. */
import { z } from 'zod';
import { showControls } from './terminal-text.ts';

/** pino's number; a fatal line is told by the failed start itself. */
const FATAL = 60;
const lineSchema = z.object({ level: z.number(), msg: z.string(), problem: z.string().optional().catch(undefined) });

/** Takes the host's log in pieces, gives whole lines. */
export function hostLog(say: (line: string) => void): (text: string) => void {
  let rest = '';
  return (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const shown = shownLine(line);
      if (shown !== undefined) say(shown);
    }
  };
}

function shownLine(line: string): string | undefined {
  const read = readLine(line);
  if (read === undefined) return line.trim() === '' ? undefined : `sandbox host: ${showControls(line)}`;
  if (read.level >= FATAL) return undefined;
  const why = read.problem === undefined ? '' : ` (${read.problem})`;
  return `sandbox host: ${showControls(read.msg + why)}`;
}

/** Undefined when it is not a log line, such as a warning of Node itself. */
function readLine(line: string): z.output<typeof lineSchema> | undefined {
  try {
    return lineSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
