/**
 * A sandbox host as a child process: started with a socket on descriptor 3, an environment of named settings only, and
 * in a session of its own, so that Ctrl-C in a terminal reaches the one who decides and not the sandbox. Restarting is
 * the caller's business; `exited` tells why one is needed.
 *
 * When this process dies in any way, the host reads the end of its socket and ends everything it started.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { type ErrorCode, isErrorCode } from './errors.ts';
import { ownModule } from './own-module.ts';
import { type ConnectedHost, connectSandboxHost } from './sandbox-client.ts';
import { formatSecrets } from './secret-values.ts';

/** Loading the host on a busy machine; it says Hello before its first worker is ready. */
const START_TIMEOUT_MS = 30_000;
/** The host ends its workers within their kill time; then it is killed, and they with it. */
const EXIT_TIMEOUT_MS = 5_000;
/** What it logged last tells why it died. */
const MAX_TAIL_LENGTH = 16 * 1024;

/** Everything of the environment that a host may see: its settings and what a process needs to run at all. */
const PASSED_VARIABLES = [
  ...['SANDBOX_POLICY', 'SANDBOX_WORKERS', 'SANDBOX_LEASE_MS', 'SECRETS_DIR', 'FLOWOPS_HOME', 'LOG_LEVEL'],
  ...['SANDBOX_IMAGE', 'SANDBOX_CONTAINERS', 'SANDBOX_CONTAINERS_AHEAD', 'DOCKER_HOST'],
  ...['SANDBOX_WORKER_IMAGE', 'SANDBOX_WORKER_RUNTIME'],
  // Authorities that a plugin's HTTPS may trust beside the usual ones.
  'NODE_EXTRA_CA_CERTS',
  ...['PATH', 'HOME', 'TMPDIR', 'TEMP', 'TMP', 'TZ', 'LANG', 'LC_ALL', 'SystemRoot'],
] as const;

export interface HostProcessOptions {
  readonly role: 'engine' | 'cli';
  /** This process, for the host's log. */
  readonly instance: string;
  /** Read for the settings above; nothing else of it is passed on. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `developer`: the visible policy for one's own folder. Absent: SANDBOX_POLICY, or strict. */
  readonly policy?: { readonly kind: 'developer' } | { readonly kind: 'file'; readonly file: string };
  /** They stand in for SECRETS_DIR; written to the host's standard input and to nothing else. */
  readonly secrets?: ReadonlyMap<string, string>;
  /** The host's log, JSON lines. Absent: this process's stderr. */
  readonly onLog?: (text: string) => void;
  readonly signal?: AbortSignal;
  /** Attempts of this connection may be debugged. Only for a CLI. */
  readonly allowDebug?: true;
  /** The host's main file; absent: the one beside this folder. */
  readonly entry?: URL;
}

export interface HostProcess extends ConnectedHost {
  readonly pid: number;
  /** Settles when the process has ended. Never rejects. */
  readonly exited: Promise<{ readonly reason: string }>;
}

export type StartHostResult =
  | { readonly ok: true; readonly host: HostProcess }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

const lastWordsSchema = z.object({ code: z.string(), msg: z.string() });

/** Starts a host and waits for its Hello. Never throws; a wrong policy or setting is CONFIG_INVALID with its message. */
export async function startHostProcess(options: HostProcessOptions): Promise<StartHostResult> {
  if (options.signal?.aborted) return failure('SANDBOX_UNAVAILABLE', 'the start was given up');
  const child = spawn(process.execPath, argumentsOf(options), {
    env: environmentOf(options),
    stdio: [options.secrets === undefined ? 'ignore' : 'pipe', 'ignore', 'pipe', 'pipe'],
    detached: process.platform !== 'win32',
    windowsHide: true,
  });
  const log = followLog(child, options.onLog ?? ((text) => process.stderr.write(text)));
  const exited = watchExit(child);
  if (options.secrets !== undefined) giveSecrets(child, options.secrets);
  const stream = child.stdio[3];
  if (!(stream instanceof Duplex)) throw new Error('descriptor 3 of a child is a duplex stream');
  const connected = await connectSandboxHost({
    stream,
    role: options.role,
    instance: options.instance,
    helloTimeoutMs: START_TIMEOUT_MS,
    onClose: () => endProcess(child, exited),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  if (connected.ok && child.pid !== undefined) {
    return { ok: true, host: { ...connected.host, pid: child.pid, exited } };
  }
  await endProcess(child, exited);
  const { reason } = await exited;
  const words = await log.lastWords();
  if (words !== undefined) return failure(words.code, words.message);
  return failure('SANDBOX_UNAVAILABLE', `the sandbox host did not start (${reason})`);
}

function failure(code: ErrorCode, message: string): StartHostResult {
  return { ok: false, code, message };
}

function argumentsOf(options: HostProcessOptions): string[] {
  const flags = options.policy?.kind === 'developer' ? ['--developer-policy'] : [];
  if (options.secrets !== undefined) flags.push('--secrets-from-stdin');
  if (options.allowDebug === true && options.role === 'cli') flags.push('--allow-debug');
  return ['--disable-sigusr1', fileURLToPath(options.entry ?? ownModule('../sandbox/main', import.meta.url)), ...flags];
}

function environmentOf({ env, policy }: HostProcessOptions): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const name of PASSED_VARIABLES) {
    const value = env[name];
    if (value !== undefined) passed[name] = value;
  }
  if (policy !== undefined) delete passed.SANDBOX_POLICY;
  if (policy?.kind === 'file') passed.SANDBOX_POLICY = policy.file;
  // The host's modules are parsed from the same cache as ours: a quarter of the CPU of a cold start.
  const cache = getCompileCacheDir();
  if (cache !== undefined) passed.NODE_COMPILE_CACHE = dirname(cache);
  return passed;
}

function giveSecrets(child: ChildProcess, secrets: ReadonlyMap<string, string>): void {
  // A host that died before it read them is told about as such.
  child.stdin?.on('error', () => {});
  child.stdin?.end(formatSecrets(secrets));
}

function watchExit(child: ChildProcess): Promise<{ reason: string }> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) =>
      resolve({ reason: signal === null ? `exit code ${code}` : `signal ${signal}` }),
    );
    child.once('error', (error) => resolve({ reason: error.message }));
  });
}

async function endProcess(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  child.stdio[3]?.destroy();
  const timer = setTimeout(() => child.kill('SIGKILL'), EXIT_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

/** Passes the log on and keeps its end: a host that cannot start says why in its last line. */
function followLog(child: ChildProcess, onLog: (text: string) => void) {
  let tail = '';
  const ended = new Promise<void>((resolve) => {
    child.stderr?.once('close', () => resolve());
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-MAX_TAIL_LENGTH);
    onLog(text);
  });
  return {
    lastWords: async (): Promise<{ code: ErrorCode; message: string } | undefined> => {
      await ended;
      try {
        const words = lastWordsSchema.parse(JSON.parse(tail.trimEnd().split('\n').at(-1) ?? ''));
        return isErrorCode(words.code) ? { code: words.code, message: words.msg } : undefined;
      } catch {
        return undefined; // not a line of ours
      }
    },
  };
}
