/**
 * Calls the `docker` command. What runs long says what it is doing: each line that matches `tell`, and else every ten
 * seconds that it still runs. Used by `npm run image` and by the tests' own daemon.
 */
import { spawn } from 'node:child_process';

export interface DockerCli {
  /** DOCKER_HOST for every call; undefined = as the environment says. */
  readonly host: string | undefined;
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal;
}

export interface CallOptions {
  readonly timeoutMs?: number;
  /** What the call does, for the lines that say that it still runs; without it the call is silent. */
  readonly what?: string;
}

export type CallEnd = { readonly ok: true; readonly stdout: string } | { readonly ok: false; readonly problem: string };

const CALL_TIMEOUT_MS = 20_000;
const HEARTBEAT_MS = 10_000;
/** What a failing build said last: enough for a compiler's message. */
const KEPT_CHARS = 4_000;

export async function docker(cli: DockerCli, args: readonly string[], options: CallOptions = {}): Promise<CallEnd> {
  return runProgram(cli, ['docker', ...args], options);
}

/** Runs any program with DOCKER_HOST as its environment. It is killed at its time limit and when `signal` aborts. */
export async function runProgram(
  { host, say, signal }: DockerCli,
  command: readonly string[],
  { timeoutMs = CALL_TIMEOUT_MS, what }: CallOptions = {},
): Promise<CallEnd> {
  const limit = AbortSignal.timeout(timeoutMs);
  const startedMs = Date.now();
  const seconds = () => `${Math.round((Date.now() - startedMs) / 1000)} s`;
  const heartbeat =
    what === undefined ? undefined : setInterval(() => say(`  still ${what} (${seconds()})`), HEARTBEAT_MS);
  try {
    return await new Promise<CallEnd>((resolve) => {
      const child = spawn(command[0] ?? '', command.slice(1), {
        env: host === undefined ? process.env : { ...process.env, DOCKER_HOST: host },
        stdio: ['ignore', 'pipe', 'pipe'],
        signal: signal === undefined ? limit : AbortSignal.any([limit, signal]),
        killSignal: 'SIGKILL',
      });
      let stdout = '';
      let tail = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        stdout += chunk;
        tail = (tail + chunk).slice(-KEPT_CHARS);
      });
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
        tail = (tail + chunk).slice(-KEPT_CHARS);
      });
      child.once('error', (error) =>
        resolve({ ok: false, problem: limit.aborted ? tooLong(timeoutMs) : error.message }),
      );
      child.once('close', (code) => {
        if (code === 0) resolve({ ok: true, stdout: stdout.trim() });
        else resolve({ ok: false, problem: tail.trim() === '' ? `exit code ${code}` : tail.trim() });
      });
    });
  } finally {
    clearInterval(heartbeat);
  }
}

function tooLong(timeoutMs: number): string {
  return `it took longer than ${timeoutMs / 1000} s`;
}
