/**
 * A service process that cannot outlive the test that started it, however that ends.
 * On Linux the kernel kills it when its parent dies (`setpriv --pdeathsig`), and the pid is the service's own. Where that
 * is missing, and for containers, a shell beside it waits for the end of its stdin, a pipe that only we hold open.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';

const execFileAsync = promisify(execFile);

/** Runs "$@" and kills it when stdin ends. POSIX gives background commands /dev/null as stdin, hence descriptor 3. */
export const KILL_WHEN_STDIN_ENDS =
  'exec 3<&0; "$@" 3<&- & pid=$!; (cat <&3 >/dev/null; kill -9 $pid 2>/dev/null) & wait $pid';
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => process.platform === 'linux' && existsSync(path));
const STOP_TIMEOUT_MS = 15_000;
const LOG_TAIL_LINES = 12;

export interface ServiceChild {
  /** Aborted when the process has ended; waits for its readiness take this. */
  readonly ended: AbortSignal;
  /** SIGTERM, then SIGKILL after 15 s. Resolves when it is gone. Idempotent. */
  stop(): Promise<void>;
  /** SIGKILL. Resolves when it is gone. */
  kill9(): Promise<void>;
  /** SIGSTOP: it keeps its connections and answers nothing, until `thaw`. Not for containers. */
  freeze(): void;
  thaw(): void;
  /** The last lines it printed, for messages. */
  logTail(): string;
}

/** @param options.inContainer the command ends with its stdin by itself and its pid is not the service's. */
export function startChild(
  command: readonly string[],
  options: { readonly logFile: string; readonly inContainer?: boolean },
): ServiceChild {
  const direct = SETPRIV !== undefined && options.inContainer !== true;
  const argv = direct
    ? [SETPRIV, '--pdeathsig', 'KILL', '--', ...command]
    : options.inContainer === true
      ? command
      : ['/bin/sh', '-c', KILL_WHEN_STDIN_ENDS, 'sh', ...command];
  const log = openSync(options.logFile, 'a');
  const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: [direct ? 'ignore' : 'pipe', log, log] });
  closeSync(log);
  // The service must not keep a finished test run alive.
  child.unref();

  const controller = new AbortController();
  const gone = new Promise<void>((resolve) => {
    const end = (why: string) => {
      controller.abort(new Error(`${command[0]} ended (${why}):\n${tailOf(options.logFile)}`));
      resolve();
    };
    child.once('exit', (code, signal) => end(signal ?? `exit ${code}`));
    child.once('error', (error) => end(error.message));
  });

  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (controller.signal.aborted) return;
    child.ref();
    if (direct) child.kill(signal);
    else child.stdin?.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await gone;
    clearTimeout(timer);
  };
  const send = (signal: NodeJS.Signals): void => {
    if (!direct) throw new Error(`a service in a container or without setpriv cannot be sent ${signal}`);
    child.kill(signal);
  };
  return {
    ended: controller.signal,
    stop: () => end('SIGTERM'),
    kill9: () => end('SIGKILL'),
    freeze: () => send('SIGSTOP'),
    thaw: () => send('SIGCONT'),
    logTail: () => tailOf(options.logFile),
  };
}

/** Runs a short command and gives its stdout; a failure's message holds its stderr. */
export async function runCommand(
  command: readonly string[],
  options: { readonly input?: string | Buffer; readonly timeoutMs?: number; readonly cwd?: string } = {},
): Promise<string> {
  const running = execFileAsync(command[0] ?? '', command.slice(1), {
    maxBuffer: 256 * 1024 * 1024,
    timeout: options.timeoutMs ?? 60_000,
    killSignal: 'SIGKILL',
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  await feed(running.child, options.input);
  return (await running).stdout;
}

/** Whether the program is on the PATH. */
export async function hasProgram(name: string): Promise<boolean> {
  try {
    await execFileAsync('/bin/sh', ['-c', 'command -v "$1"', 'sh', name]);
    return true;
  } catch {
    return false;
  }
}

async function feed(child: ChildProcess, input: string | Buffer | undefined): Promise<void> {
  const { stdin } = child;
  if (stdin === null) return;
  // A program that ends without reading its input breaks the pipe; its exit code tells what was wrong.
  stdin.on('error', () => {});
  stdin.end(input);
  if (child.pid === undefined) await once(child, 'error');
}

function tailOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n');
  } catch {
    return '(no log)';
  }
}
