/**
 * Entry of an isolate worker: `node --no-node-snapshot --disable-sigusr1 worker.mjs [INPUT_FD OUTPUT_FD]`, with the host's
 * socket on fd 3. In a container its first process gives it two descriptors instead.
 * Refuses to start where isolated-vm would be unsafe or would die in silence.
 */

import { PRELUDE } from 'flowops:prelude';
import { PRELUDE_HASHES } from 'flowops:prelude-hashes';
import { PRELUDE_URL } from 'flowops:prelude-url';
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { messageOf } from '@flowops/proto/errors.ts';
import { z } from 'zod';
import { StdioStream } from '../../guest/stdio-stream.ts';
import { WorkerApp } from './app.ts';
import { EXIT_UNUSABLE } from './limits.ts';
import { IsolateFactory } from './prepared-isolate.ts';
import { versionProblem } from './requirements.ts';

const HOST_FD = 3;

async function main(): Promise<void> {
  const require = createRequire(import.meta.url);
  const { version } = z.object({ version: z.string() }).parse(require('isolated-vm/package.json'));
  const problem = versionProblem({ isolatedVm: version, execArgv: process.execArgv });
  if (problem !== undefined) return refuse(problem);
  const factory = await IsolateFactory.create(PRELUDE, { url: PRELUDE_URL, hashes: PRELUDE_HASHES });
  new WorkerApp({
    stream: hostStream(),
    instance: `worker-${randomUUID()}`,
    factory,
    runtime: `isolated-vm ${version}`,
    die,
    onClosed: ({ isIdle }) => (isIdle ? process.exit(0) : die()),
  });
}

function hostStream(): Duplex {
  const [inputFd, outputFd] = process.argv.slice(2).map(Number);
  if (inputFd !== undefined && outputFd !== undefined) return new StdioStream({ inputFd, outputFd });
  return new Socket({ fd: HOST_FD, readable: true, writable: true });
}

/** Not exit(): that would wait for threads that may still be inside a plugin. */
function die(): void {
  process.kill(process.pid, 'SIGKILL');
  // The first process of a pid namespace cannot be killed from within it.
  process.abort();
}

function refuse(problem: string): void {
  process.stderr.write(`isolate worker: ${problem}\n`);
  process.exit(EXIT_UNUSABLE);
}

main().catch((thrown: unknown) => refuse(`it cannot start: ${messageOf(thrown)}`));
