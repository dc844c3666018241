/** A program that tells what happens line by line, and can be stopped, woken and killed. It cannot outlive the test run. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';

const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => process.platform === 'linux' && existsSync(path));

export interface LineProcess {
  /** One line to its stdin. */
  write(line: string): void;
  /** SIGSTOP, until `thaw`. */
  freeze(): void;
  thaw(): void;
  /** Resolves when it is gone. Idempotent. */
  kill9(): Promise<void>;
}

/** Its stderr is shown as the test's. */
export function startLineProcess(command: readonly string[], onLine: (line: string) => void): LineProcess {
  const argv = SETPRIV === undefined ? command : [SETPRIV, '--pdeathsig', 'KILL', '--', ...command];
  const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.on('error', () => {}); // it may end without reading
  createInterface({ input: child.stdout }).on('line', onLine);
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return {
    write: (line) => void child.stdin.write(`${line}\n`),
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    kill9: async () => {
      child.kill('SIGKILL');
      await gone;
    },
  };
}
