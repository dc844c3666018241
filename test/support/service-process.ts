/**
 * The program `flowops` as a real process: what it prints, line by line, as it comes; signals to it alone or to it with
 * everything it started; its end. It cannot outlive the test run.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { bareEnvironment, ROOT } from './clone.ts';
import { Growing } from './service-growing.ts';
import { killTree, type ProcessRef, untilGone } from './service-process-tree.ts';

const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => process.platform === 'linux' && existsSync(path));
const LINES_TOLD = 25;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface FlowopsProcess {
  readonly pid: number;
  readonly stdout: Growing<string>;
  readonly stderr: Growing<string>;
  /** After its last line. */
  readonly exited: Promise<Exit>;
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL for it alone. */
  kill9(): Promise<Exit>;
  /** SIGKILL for it and everything below it at one moment, as when the power goes. */
  powerCut(): Promise<readonly ProcessRef[]>;
}

export interface FlowopsCall {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Text for stdin; absent: none. */
  readonly input?: string;
}

export function startFlowops(args: readonly string[], { cwd, env = {}, input }: FlowopsCall): FlowopsProcess {
  const command = [process.execPath, '--', join(ROOT, 'bin', 'flowops.mjs'), ...args];
  const argv = SETPRIV === undefined ? command : [SETPRIV, '--pdeathsig', 'KILL', '--', ...command];
  const child = spawn(argv[0] ?? '', argv.slice(1), {
    cwd,
    env: { ...bareEnvironment(dirname(process.execPath)), ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${argv[0]} could not be started`);
  child.stdin.on('error', () => {}); // it may end without reading
  child.stdin.end(input);
  const tail = (): string => `flowops ${args.join(' ')}:\n${stderr.items.slice(-LINES_TOLD).join('\n')}`;
  const stderr: Growing<string> = new Growing(tail);
  const stdout: Growing<string> = new Growing(tail);
  createInterface({ input: child.stdout }).on('line', (line) => stdout.push(line));
  createInterface({ input: child.stderr }).on('line', (line) => stderr.push(line));
  const exited = new Promise<Exit>((resolve) => {
    // 'close' comes after the last byte; the lines of it are out one turn later.
    child.once('close', (code, signal) =>
      setImmediate(() => {
        for (const lines of [stdout, stderr]) lines.end(`it ended: ${signal ?? `exit code ${code}`}`);
        resolve({ code, signal });
      }),
    );
  });
  return {
    pid,
    stdout,
    stderr,
    exited,
    signal: (signal) => void child.kill(signal),
    kill9: () => {
      child.kill('SIGKILL');
      return exited;
    },
    powerCut: async () => {
      const killed = killTree(pid);
      await exited;
      await untilGone(killed);
      return killed;
    },
  };
}

export interface FlowopsEnd extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts it and waits for its end. */
export async function runFlowops(args: readonly string[], call: FlowopsCall): Promise<FlowopsEnd> {
  const running = startFlowops(args, call);
  const exit = await running.exited;
  return { ...exit, stdout: running.stdout.items.join('\n'), stderr: running.stderr.items.join('\n') };
}
