/**
 * The program in a step container, started by start.ts. Without arguments it speaks to its host on stdin and stdout; the
 * container's first process gives it two other descriptors, so that a plugin's own prints cannot land between frames; a
 * third number tells how much faster than real the CPU clock of this kernel may run.
 * Runs one step and ends.
 */
import { GUEST_THREAD } from 'flowops:guest-thread';
import path from 'node:path';
import { messageOf } from '@flowops/proto/errors.ts';
import { StdioStream } from '../../guest/stdio-stream.ts';
import { RunnerApp } from './app.ts';
import { GuestThread } from './guest-thread.ts';
import { EXIT_UNUSABLE } from './limits.ts';

function main(): void {
  const [inputFd = 0, outputFd = 1, cpuClockRate = 1] = process.argv.slice(2).map(Number);
  const folder = path.dirname(process.argv[1] ?? '');
  const thread = new GuestThread({ code: GUEST_THREAD, folder });
  new RunnerApp({
    stream: new StdioStream({ inputFd, outputFd }),
    instance: `runner-${process.hrtime.bigint().toString(36)}`,
    runtime: `node ${process.version}`,
    thread,
    cpuClockRate,
    onDone: ({ isProven }) => (isProven ? process.exit(0) : die()),
  });
}

/** Not exit(): that would wait for a thread that may still be inside a plugin. */
function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

try {
  main();
} catch (thrown) {
  process.stderr.write(`step runner: it cannot start: ${messageOf(thrown)}\n`);
  process.exit(EXIT_UNUSABLE);
}
