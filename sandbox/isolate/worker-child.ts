/**
 * The process behind a worker: starts it, finds the process that will run guest code, kills it, and proves that
 * nothing of it is left. Speaks no protocol.
 *
 * Invariant W1: `gone` resolves only when the first process of the worker's pid namespace has been seen to be gone
 * from /proc (the kernel empties the namespace before that), not when the wrapper exits.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  childrenOf,
  firstThreadDelayMs,
  hasChildren,
  isRunning,
  peakResidentBytes,
  processCpuMs,
  processDelayMs,
  resetPeakResident,
  residentBytes,
  startTicks,
} from '../kernel/process-figures.ts';
import { confinementGaps, type ProcessConfinement } from './confinement.ts';
import type { WorkerCommand } from './jail.ts';
import { lastWordsOf } from './last-words.ts';

/** What a dying worker wrote is kept for the log, no more. */
const MAX_STDERR_BYTES = 4096;
/** The wrapper follows its child at once; if not, it is killed too. */
const WRAPPER_GRACE_MS = 500;
const GONE_POLL_MS = 5;

interface Inner {
  readonly pid: number;
  readonly ticks: string | undefined;
}

export class WorkerChild {
  readonly stream: Duplex;
  /** No process of the worker is left. Never rejects. */
  readonly gone: Promise<void>;
  readonly #command: WorkerCommand;
  readonly #child: ChildProcess;
  #inner: Inner | undefined;
  #isKilled = false;
  #stderr = '';
  #spawnProblem = '';

  constructor(command: WorkerCommand) {
    this.#command = command;
    this.#child = spawn(command.file, [...command.args], {
      // Windows starts nothing without its system folder; nothing else is passed on anywhere.
      env: process.platform === 'win32' ? { SystemRoot: process.env.SystemRoot ?? '' } : {},
      cwd: command.isJailed ? '/' : undefined,
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      // A session of its own: process groups do not end at a pid namespace, and an ordinary user's worker has our uid.
      detached: process.platform !== 'win32',
      windowsHide: true,
    });
    const stream = this.#child.stdio[3];
    if (!(stream instanceof Duplex)) throw new Error('the third descriptor of a child is a duplex stream');
    this.stream = stream;
    const { stderr } = this.#child;
    stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text.slice(0, MAX_STDERR_BYTES);
      // Reading on would let it keep us busy; what it writes now is lost.
      if (this.#stderr.length >= MAX_STDERR_BYTES) stderr.destroy();
    });
    this.gone = this.#watchEnd();
  }

  /** The last line it wrote to stderr. For the log; a compromised worker can write anything. */
  get lastWords(): string {
    return this.#spawnProblem || lastWordsOf(this.#stderr);
  }

  /** Why the process behind the wrapper must not get steps; undefined when it is as it should be. */
  confirm(confinement: ProcessConfinement): string | undefined {
    const wrapper = this.#child.pid;
    if (wrapper === undefined) return 'it did not start';
    if (!this.#command.isJailed) {
      this.#inner = { pid: wrapper, ticks: startTicks(wrapper) };
      return undefined;
    }
    const [pid, ...more] = childrenOf(wrapper);
    if (pid === undefined || more.length > 0) return 'its process cannot be found under its wrapper';
    this.#inner = { pid, ticks: startTicks(pid) };
    const gaps = confinementGaps(pid, confinement);
    return gaps.length === 0 ? undefined : `it is not confined: ${gaps.join(', ')}`;
  }

  cpuMs(): number | undefined {
    return this.#inner === undefined ? undefined : processCpuMs(this.#inner.pid);
  }

  delayMs(): number | undefined {
    return this.#inner === undefined ? undefined : processDelayMs(this.#inner.pid);
  }

  firstThreadDelayMs(): number | undefined {
    return this.#inner === undefined ? undefined : firstThreadDelayMs(this.#inner.pid);
  }

  residentBytes(): number | undefined {
    return this.#inner === undefined ? undefined : residentBytes(this.#inner.pid);
  }

  resetPeakResident(): boolean {
    return this.#inner !== undefined && resetPeakResident(this.#inner.pid);
  }

  peakResidentBytes(): number | undefined {
    return this.#inner === undefined ? undefined : peakResidentBytes(this.#inner.pid);
  }

  /** A worker is one process; one that made another has been taken over. */
  hasChildren(): boolean {
    return this.#inner !== undefined && this.#command.isJailed && hasChildren(this.#inner.pid);
  }

  /** Idempotent. */
  kill(): void {
    if (this.#isKilled) return;
    this.#isKilled = true;
    const inner = this.#inner;
    if (!this.#command.isJailed || inner === undefined) {
      this.#child.kill('SIGKILL');
      return;
    }
    // The first process of the namespace takes all others with it; the wrapper then exits by itself.
    this.#killInner(inner);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), WRAPPER_GRACE_MS);
    this.#child.once('exit', () => clearTimeout(timer));
  }

  async #watchEnd(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#child.once('exit', () => resolve());
      this.#child.once('error', (error) => {
        this.#spawnProblem = error.message;
        if (this.#child.pid === undefined) resolve();
      });
    });
    const inner = this.#inner;
    if (inner === undefined || !this.#command.isJailed) return;
    // Its wrapper may have gone alone: the death signal that should have followed can be switched off from inside.
    while (this.#killInner(inner)) await sleep(GONE_POLL_MS);
  }

  /** False when it is gone. */
  #killInner({ pid, ticks }: Inner): boolean {
    if (!isRunning(pid, ticks)) return false;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      return false; // gone between the look and the signal
    }
    return true;
  }
}
