/**
 * Runs another program in this one's place: same standard streams, signals passed on, exit code taken over. Plain
 * JavaScript for Node 18 and later.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

const PASSED_ON = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR2'];

/**
 * Resolves when the child has ended; sets process.exitCode, or dies of the child's signal.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {{ lifeline?: boolean, cwd?: string, env?: NodeJS.ProcessEnv }} options
 *   lifeline: give the child a pipe as file descriptor 3 that ends when this process is gone, however it went
 */
export async function runAs(program, args, options = {}) {
  const stdio = options.lifeline ? ['inherit', 'inherit', 'inherit', 'pipe'] : 'inherit';
  const child = spawn(program, args, { stdio, cwd: options.cwd, env: options.env ?? process.env });
  const handlers = PASSED_ON.map((signal) => {
    const handler = () => {
      // A terminal sends Ctrl-C to the whole group, child included: passing it on would make it two.
      const isFromTerminal = (signal === 'SIGINT' || signal === 'SIGQUIT') && process.stdin.isTTY;
      if (!isFromTerminal) child.kill(signal);
    };
    process.on(signal, handler);
    return { signal, handler };
  });
  const { code, signal } = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (exitCode, exitSignal) => resolve({ code: exitCode, signal: exitSignal }));
  });
  for (const { signal: name, handler } of handlers) process.off(name, handler);
  if (signal === null) {
    process.exitCode = code ?? 1;
    return;
  }
  process.exitCode = 128 + (constants.signals[signal] ?? 0);
  process.kill(process.pid, signal);
}
