import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';

const fixture = (name: string): string => fileURLToPath(new URL(`../../fixtures/house/${name}`, import.meta.url));

let standIn: ChildProcess | undefined;
afterEach(() => {
  standIn?.kill('SIGKILL');
});

/** The stand-in of `waits.mjs`, and the lines that the latter prints. */
function start(...args: readonly string[]): { process: ChildProcess; lines: AsyncIterator<string> } {
  const child = spawn(process.execPath, [fixture('stand-in.mjs'), fixture('waits.mjs'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  standIn = child;
  return { process: child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

async function endOf(child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return { code: child.exitCode, signal: child.signalCode };
}

describe('a process that stands in for another', () => {
  it.each([0, 1, 130])('ends with its exit code %d', async (code) => {
    expect(await endOf(start('exit', String(code)).process)).toEqual({ code, signal: null });
  });

  it('ends by the signal that ended the other', async () => {
    expect(await endOf(start('die', 'SIGTERM').process)).toEqual({ code: null, signal: 'SIGTERM' });
  });

  it('passes signals on, once each, and waits for what the other makes of them', async () => {
    const { process: child, lines } = start();
    await lines.next();
    child.kill('SIGTERM');
    expect(await lines.next()).toEqual({ done: false, value: 'SIGTERM' });
    child.kill('SIGINT');
    expect(await lines.next()).toEqual({ done: false, value: 'SIGINT' });
    expect(await lines.next()).toEqual({ done: true, value: undefined });
    expect(await endOf(child)).toEqual({ code: 130, signal: null });
  });

  it('takes the other with it when it is killed outright', async () => {
    const { process: child, lines } = start();
    const pid = Number((await lines.next()).value);
    expect(pid).toBeGreaterThan(0);
    child.kill('SIGKILL');
    // The pipe of its stdout ends when the last process that holds it is gone.
    expect(await lines.next()).toEqual({ done: true, value: undefined });
  });
});
