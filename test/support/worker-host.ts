/**
 * The host's side of one isolate worker, or of one runner of a step container, as small as it can be: starts the real
 * program as a child, speaks the real protocol to it, and has no timer of its own that would end a step. So what a
 * test sees is the program's doing.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Duplex } from 'node:stream';
import { digestOf } from '@flowops/proto/ids.ts';
import { formatManifestLine, type Manifest, manifestSchema } from '@flowops/proto/manifest.ts';
import { Peer, type PeerMessage } from '@flowops/proto/peer.ts';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import { type HostCall, type Log, type Progress, Purpose, type Result, Status } from '@flowops/proto/sandbox_pb.js';
import { START_FILE } from '../../sandbox/container/runner/files.ts';
import { buildRunner, writeRunner } from '../../sandbox/container/runner-assets.ts';
import { moduleOf } from '../../sandbox/doctor/bundle-text.ts';
import { prepareIsolateAssets } from '../../sandbox/isolate/assets.ts';

export const LIMITS: EffectiveLimits = {
  memoryMb: 64,
  cpuMs: 10_000,
  wallMs: 10_000,
  outputBytes: 1_048_576,
  logBytes: 65_536,
  hostCalls: 100,
};

export interface StepOptions {
  readonly inputs?: Record<string, unknown>;
  readonly limits?: Partial<EffectiveLimits>;
  readonly inspect?: boolean;
  readonly allowWasm?: boolean;
  readonly freshContext?: boolean;
  readonly policyHash?: string;
  readonly attempt?: number;
  readonly idempotencyKey?: string;
}

export interface StepResult {
  readonly status: 'COMPLETED' | 'FAILED' | 'CANCELLED' | 'WORKER_ENDED';
  readonly code: string;
  readonly message: string;
  readonly stack: string;
  readonly outputs: unknown;
  readonly usage: unknown;
  readonly result: Result | undefined;
  readonly logs: readonly Log[];
  readonly progress: readonly Progress[];
  readonly elapsedMs: number;
}

export interface Step {
  readonly token: Uint8Array;
  readonly started: Promise<void>;
  readonly result: Promise<StepResult>;
  /** The first line that says so. */
  logged(message: string): Promise<void>;
}

/** How the host answers calls; the default refuses them all, as a host without grants does. */
export type AnswerCall = (call: HostCall, peer: Peer) => void;

export const denied: AnswerCall = (call, peer) => {
  const { token, callId, method } = call;
  const message = `the policy grants no ${method}`;
  peer.send({ case: 'hostReply', value: { token, callId, ok: false, code: 'POLICY_DENIED', message } });
};

interface ProgramUnderTest {
  readonly role: 'isolate-worker' | 'step-runner';
  readonly args: readonly string[];
  readonly stdio: StdioOptions;
  readonly streamOf: (child: ChildProcess) => Duplex;
}

export function isolateWorkerProgram(args: readonly string[]): ProgramUnderTest {
  const streamOf = (child: ChildProcess) => pipeOf(child, 3);
  return { role: 'isolate-worker', args, stdio: ['ignore', 'ignore', 'pipe', 'pipe'], streamOf };
}

/** Two pipes as one stream. */
function runnerProgram(args: readonly string[], inputFd: 0 | 3, outputFd: 1 | 4): ProgramUnderTest {
  const stdio: StdioOptions = inputFd === 0 ? ['pipe', 'pipe', 'pipe'] : ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'];
  const streamOf = (child: ChildProcess) =>
    Duplex.from({ writable: pipeOf(child, inputFd), readable: pipeOf(child, outputFd) });
  return { role: 'step-runner', args, stdio, streamOf };
}

function pipeOf(child: ChildProcess, fd: number): Duplex {
  const pipe = child.stdio[fd];
  if (!(pipe instanceof Duplex)) throw new Error(`there is no pipe on descriptor ${fd}`);
  return pipe;
}

export class WorkerHost {
  readonly child: ChildProcess;
  readonly peer: Peer;
  readonly opened: Promise<void>;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stderr = '';
  readonly #steps = new Map<string, (message: PeerMessage | 'gone') => void>();
  readonly #bundles = new Map<string, Uint8Array>();
  answerCall: AnswerCall = denied;

  constructor({ role, args, stdio, streamOf }: ProgramUnderTest) {
    this.child = spawn(process.execPath, args, { stdio, env: {}, cwd: '/' });
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString('utf8');
    });
    this.ended = new Promise((resolve) => this.child.once('close', (code, signal) => resolve({ code, signal })));
    const stream = streamOf(this.child);
    const opened = Promise.withResolvers<void>();
    this.opened = opened.promise;
    this.peer = new Peer({
      stream,
      side: 'caller',
      role: 'host',
      instance: 'test-host',
      accepts: [role],
      onOpen: () => opened.resolve(),
      onMessage: (message) => this.#take(message),
      onClosed: () => {
        for (const end of [...this.#steps.values()]) end('gone');
      },
    });
  }

  /** Starts a step; `source` is the whole bundle. */
  start(source: string | Uint8Array, options: StepOptions = {}): Step {
    const bytes = typeof source === 'string' ? Buffer.from(source) : source;
    const digest = digestOf(bytes);
    this.#bundles.set(digest, bytes);
    const token = randomBytes(16);
    const key = token.toString('hex');
    const logs: Log[] = [];
    const progress: Progress[] = [];
    const waiters: { message: string; resolve: () => void }[] = [];
    const started = Promise.withResolvers<void>();
    const settled = Promise.withResolvers<StepResult>();
    const begin = performance.now();
    const settle = (result: Result | undefined) => {
      this.#steps.delete(key);
      settled.resolve({ ...readResult(result), logs, progress, elapsedMs: performance.now() - begin });
    };
    this.#steps.set(key, (message) => {
      if (message === 'gone') settle(undefined);
      else if (message.case === 'started') started.resolve();
      else if (message.case === 'progress') progress.push(message.value);
      else if (message.case === 'log') {
        logs.push(message.value);
        for (const waiter of waiters) if (message.value.message === waiter.message) waiter.resolve();
      } else if (message.case === 'result') {
        this.peer.send({ case: 'resultAck', value: { token } });
        settle(message.value);
      }
    });
    const sent = this.peer.send({
      case: 'invoke',
      value: {
        token,
        purpose: options.inspect === true ? Purpose.INSPECT : Purpose.RUN,
        flowId: 'flow',
        runId: 'run',
        stepId: 'step',
        attempt: options.attempt ?? 1,
        digest,
        inputsJson: Buffer.from(JSON.stringify(options.inputs ?? {})),
        idempotencyKey: options.idempotencyKey ?? 'flow/run/step',
        limits: { ...LIMITS, ...options.limits },
        allowWasm: options.allowWasm ?? false,
        freshContext: options.freshContext ?? false,
        policyHash: options.policyHash ?? 'sha256:policy',
      },
    });
    if (sent === 'closed') settle(undefined);
    return {
      token,
      started: started.promise,
      result: settled.promise,
      logged: (message) => new Promise((resolve) => waiters.push({ message, resolve })),
    };
  }

  run(source: string | Uint8Array, options?: StepOptions): Promise<StepResult> {
    return this.start(source, options).result;
  }

  cancel(step: Step, graceMs: number, reason = 'stopped'): void {
    this.peer.send({ case: 'cancel', value: { token: step.token, epoch: 1n, graceMs, reason } });
  }

  async close(): Promise<void> {
    this.peer.close('the test is over');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 3_000);
    await this.ended;
    clearTimeout(timer);
  }

  #take(message: PeerMessage): void {
    if (message.case === 'needBundle') this.#putBundle(message.value.digest);
    else if (message.case === 'hostCall') this.answerCall(message.value, this.peer);
    else if ('token' in message.value) this.#steps.get(Buffer.from(message.value.token).toString('hex'))?.(message);
  }

  #putBundle(digest: string): void {
    const bytes = this.#bundles.get(digest);
    if (bytes === undefined) throw new Error('the worker asked for a bundle that was never named');
    const piece = 1024 * 1024;
    for (let offset = 0; offset === 0 || offset < bytes.length; offset += piece) {
      const data = bytes.subarray(offset, offset + piece);
      const value = { digest, totalBytes: BigInt(bytes.length), offset: BigInt(offset), data };
      this.peer.send({ case: 'putBundle', value });
    }
  }
}

const STATUS = { [Status.COMPLETED]: 'COMPLETED', [Status.FAILED]: 'FAILED', [Status.CANCELLED]: 'CANCELLED' } as const;

function readResult(result: Result | undefined): Omit<StepResult, 'logs' | 'progress' | 'elapsedMs'> {
  if (result === undefined || result.status === Status.STATUS_UNSPECIFIED) {
    const none = { code: '', message: '', stack: '', outputs: undefined, usage: undefined, result };
    return { status: 'WORKER_ENDED', ...none };
  }
  return {
    status: STATUS[result.status],
    code: result.code,
    message: result.message,
    stack: result.stack,
    outputs: readJson(result.outputsJson),
    usage: readJson(result.receiptJson),
    result,
  };
}

function readJson(bytes: Uint8Array): unknown {
  return bytes.length === 0 ? undefined : JSON.parse(Buffer.from(bytes).toString('utf8'));
}

let assets: Promise<string> | undefined;

/** Builds the worker once per test process. */
export function workerPath(): Promise<string> {
  assets ??= (async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'flowops-worker-'));
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    return (await prepareIsolateAssets(folder)).workerPath;
  })();
  return assets;
}

export async function startWorker(
  flags: readonly string[] = ['--no-node-snapshot', '--disable-sigusr1'],
): Promise<WorkerHost> {
  const host = new WorkerHost(isolateWorkerProgram([...flags, await workerPath()]));
  await Promise.race([host.opened, host.ended]);
  return host;
}

let runner: Promise<string> | undefined;

/** Builds the runner once per test process. */
export function runnerPath(): Promise<string> {
  runner ??= (async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'flowops-runner-'));
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    await writeRunner(folder, await buildRunner());
    return path.join(folder, START_FILE);
  })();
  return runner;
}

/** As a container starts it, without the container. `onOwnDescriptors`: as its first process does. */
export async function startRunner({ onOwnDescriptors = false } = {}): Promise<WorkerHost> {
  const args = ['--disable-sigusr1', await runnerPath()];
  const program = onOwnDescriptors ? runnerProgram([...args, '3', '4'], 3, 4) : runnerProgram(args, 0, 1);
  const host = new WorkerHost(program);
  await Promise.race([host.opened, host.ended]);
  return host;
}

/**
 * A bundle as the builder would make it, by hand: a task made of its record, with `body` as the run function's body.
 * `inputs`, `logger` and `context` are in its scope.
 */
export function bundleOf(body: string, about: Partial<Manifest> & { prologue?: string } = {}): string {
  const { prologue, ...declared } = about;
  const manifest = manifestSchema.parse({ name: 'test.plugin', version: '1.0.0', ...declared });
  return `${formatManifestLine(manifest)}${moduleOf(body, manifest, prologue)}`;
}
