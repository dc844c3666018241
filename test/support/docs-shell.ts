/**
 * The terminals of somebody who types what a page says: one bash each, so that `cd`, exports and functions last. What a
 * command prints goes into a file of its own, in the order in which it was printed.
 *
 * Nothing outlives a terminal: all that it starts is in its process group, and the group ends when the pipe behind
 * descriptor 3 closes, which it also does when the tests are killed.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** Takes file names on stdin and answers with exit code and folder. Signals are for what runs in it, whose end it awaits. */
const DRIVER = `
( trap '' INT; read -r _ <&3; kill -TERM -- -$$ ) </dev/null >/dev/null 2>&1 &
exec 3<&-
trap : INT TERM
while IFS= read -r __typed; do
  . "$__typed" >"$__typed.out" 2>&1 </dev/null
  printf '%s %s\\n' "$?" "$PWD"
done
wait; wait
`;
/** How long what was started has to end by itself. */
const END_GRACE_MS = 10_000;
/** Between two looks at what a program has printed so far. */
const LOOK_MS = 50;

export interface Terminal {
  /** The folder it stands in. */
  readonly cwd: string;
  /** Runs a command to its end. */
  type(command: string): Promise<Ran>;
  /** Starts a command that goes on; resolves when `isReady` says so of what it printed, or when it ended. */
  begin(command: string, isReady: (text: string) => boolean): Promise<Ran>;
  /** Resolves when all that the last command printed is as asked, or when it ended. */
  printed(isReady: (text: string) => boolean): Promise<Ran>;
  /** Ctrl-C for what runs in it, and its end. */
  interrupt(): Promise<void>;
  close(): Promise<void>;
}

export interface Ran {
  /** Undefined while it runs. */
  readonly code: number | undefined;
  readonly text: string;
}

export interface TerminalOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** For what was typed and printed. */
  readonly scratch: string;
  readonly signal: AbortSignal;
  /** Whoever types, where that is not the user of this process. */
  readonly user?: { readonly uid: number; readonly gid: number };
}

export function openTerminal({ cwd, env, scratch, signal, user }: TerminalOptions): Terminal {
  mkdirSync(scratch, { recursive: true, mode: 0o777 });
  if (user !== undefined) own(scratch, user);
  const child = spawn('bash', ['--noprofile', '--norc', '-c', DRIVER], {
    cwd,
    env,
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    ...user,
  });
  child.stdin?.on('error', () => {});
  const answers = answersOf(child);
  let folder = cwd;
  let count = 0;
  let last: { file: string; ended: Promise<void>; code: number | undefined } | undefined;

  const start = (command: string): void => {
    const file = join(scratch, `${++count}.sh`);
    writeFileSync(file, command, { mode: 0o644 });
    writeFileSync(`${file}.out`, '', { mode: 0o666 });
    if (user !== undefined) own(`${file}.out`, user);
    const typed = { file, ended: Promise.resolve(), code: undefined as number | undefined };
    typed.ended = answers.next().then((answer) => {
      typed.code = answer.code;
      folder = answer.cwd ?? folder;
    });
    last = typed;
    child.stdin?.write(`${file}\n`);
  };
  const now = (): Ran => {
    if (last === undefined) return { code: 0, text: '' };
    return { code: last.code, text: readFileSync(`${last.file}.out`, 'utf8') };
  };
  const printed = async (isReady: (text: string) => boolean): Promise<Ran> => {
    for (;;) {
      const ran = now();
      if (ran.code !== undefined || isReady(ran.text)) return ran;
      if (signal.aborted) throw new Error(`it went on too long; so far it printed:\n${ran.text}`);
      await Promise.race([sleep(LOOK_MS), last?.ended]);
    }
  };
  return {
    get cwd() {
      return folder;
    },
    type: async (command) => {
      start(command);
      return printed(() => false);
    },
    begin: async (command, isReady) => {
      start(command);
      return printed(isReady);
    },
    printed,
    interrupt: async () => {
      if (last === undefined || last.code !== undefined) return;
      signalGroup(child, 'SIGINT');
      await printed(() => false);
    },
    close: () => endGroup(child),
  };
}

interface Answers {
  next(): Promise<{ readonly code: number; readonly cwd: string | undefined }>;
}

/** The shell's own end counts as the end of what it ran. */
function answersOf(child: ChildProcess): Answers {
  if (child.stdout === null) throw new Error('the shell has no output');
  const lines: Interface = createInterface(child.stdout);
  const waiting: ((line: string | undefined) => void)[] = [];
  lines.on('line', (line) => waiting.shift()?.(line));
  let isGone = false;
  child.once('exit', () => {
    isGone = true;
    for (const give of waiting.splice(0)) give(undefined);
  });
  return {
    next: async () => {
      const line = await new Promise<string | undefined>((resolve) =>
        isGone ? resolve(undefined) : waiting.push(resolve),
      );
      const answer = /^(\d+) (.*)$/.exec(line ?? '');
      if (answer === null) return { code: child.exitCode ?? 255, cwd: undefined };
      return { code: Number(answer[1]), cwd: answer[2] };
    },
  };
}

/** Whether there was anybody to be told. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals | 0): boolean {
  try {
    return child.pid !== undefined && process.kill(-child.pid, signal);
  } catch {
    return false;
  }
}

/** The shell and all that was started in it; what does not end by itself is killed. */
async function endGroup(child: ChildProcess): Promise<void> {
  const isGone = child.exitCode !== null || child.signalCode !== null;
  const exited = isGone ? Promise.resolve() : once(child, 'close');
  child.stdin?.end();
  signalGroup(child, 'SIGTERM');
  const timer = setTimeout(() => signalGroup(child, 'SIGKILL'), END_GRACE_MS);
  await exited;
  for (let waitedMs = 0; signalGroup(child, 0) && waitedMs < END_GRACE_MS; waitedMs += LOOK_MS) await sleep(LOOK_MS);
  clearTimeout(timer);
  signalGroup(child, 'SIGKILL');
}

function own(path: string, { uid, gid }: { readonly uid: number; readonly gid: number }): void {
  const owned = spawnSync('chown', ['-R', `${uid}:${gid}`, path], { encoding: 'utf8' });
  if (owned.status !== 0) throw new Error(owned.stderr);
}

/** The commands of a block, one by one, as bash divides them: loops, here-documents and continued lines stay whole. */
export function commandsOf(block: string): string[] {
  const commands: string[] = [];
  let open: string[] = [];
  for (const line of block.split('\n')) {
    if (open.length === 0 && (line.trim() === '' || line.startsWith('#'))) continue;
    open.push(line);
    const text = open.join('\n');
    if (line.endsWith('\\') || !isWhole(text)) continue;
    commands.push(text);
    open = [];
  }
  if (open.length > 0) commands.push(open.join('\n'));
  return commands;
}

/** A here-document without its end is only a warning to bash. */
function isWhole(text: string): boolean {
  const read = spawnSync('bash', ['--noprofile', '--norc', '-n'], { input: `${text}\n`, encoding: 'utf8' });
  return read.status === 0 && read.stderr === '';
}
