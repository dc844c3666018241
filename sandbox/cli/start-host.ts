/** Starts the sandbox host of a command as the engine does, and turns its log into lines for a person. */
import { startHostProcess } from '@flowops/proto/host-process.ts';
import type { Settings } from '@flowops/proto/settings-reader.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import type { OpenedSandbox } from '@flowops/sdk/build/build-result.ts';
import { z } from 'zod';
import type { HostPolicy } from './open-host.ts';

/** pino's number; a fatal line is told by the failed start itself. */
const FATAL = 60;
const lineSchema = z.object({ level: z.number(), msg: z.string() });

export async function startCommandHost(policy: HostPolicy, { values, sources }: Settings): Promise<OpenedSandbox> {
  const { FLOWOPS_HOME, SANDBOX_WORKERS, LOG_LEVEL } = values;
  return await startHostProcess({
    role: 'cli',
    instance: `cli-${process.pid}`,
    policy,
    env: {
      ...process.env,
      FLOWOPS_HOME,
      ...(SANDBOX_WORKERS === undefined ? {} : { SANDBOX_WORKERS: String(SANDBOX_WORKERS) }),
      // What a service logs on its way is no news to the person in front of it, unless asked for.
      LOG_LEVEL: sources.LOG_LEVEL.from === 'default' ? 'warn' : LOG_LEVEL,
    },
    onLog: hostLog((line) => process.stderr.write(`${line}\n`)),
  });
}

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
  return read.level >= FATAL ? undefined : `sandbox host: ${showControls(read.msg)}`;
}

/** Undefined when it is not a log line, such as a warning of Node itself. */
function readLine(line: string): z.output<typeof lineSchema> | undefined {
  try {
    return lineSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
