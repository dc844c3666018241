/**
 * The thread that runs the plugin, as the main thread sees it. Started before a step is known, so that a container
 * that waits has it ready. Used once. A loop without end in the plugin holds up this thread and nothing else.
 */
import { totalmem } from 'node:os';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { Thrown } from '@flowops/sdk/thrown.ts';
import { pluginHeap } from './plugin-heap.ts';
import { SHARED, SHARED_INTS, type ThreadCommand, type ThreadData, type ThreadMessage } from './thread-protocol.ts';

export interface GuestThreadOwner {
  /** Undefined: the guest is held where it is, for good. */
  onCall(op: number, a: unknown, b: unknown, c: unknown): number | string | undefined;
  onLoaded(): void;
  onInvalid(problem: string): void;
  onEntering(): void;
  onEntered(): void;
  onThrown(thrown: Thrown): void;
  onOutOfMemory(): void;
  /** It ended by itself. Not called after `terminate`. */
  onExit(code: number): void;
}

export class GuestThread {
  /** Set by the run that takes it; before, nothing of a plugin is in it. */
  owner: GuestThreadOwner | undefined;
  readonly #worker: Worker;
  readonly #commands: MessagePort;
  readonly #answers: MessagePort;
  readonly #shared = new Int32Array(new SharedArrayBuffer(SHARED_INTS * Int32Array.BYTES_PER_ELEMENT));
  #isTerminated = false;

  /** `folder`: where the prelude lies. */
  constructor({ code, folder }: { readonly code: string; readonly folder: string }) {
    const commands = new MessageChannel();
    const answers = new MessageChannel();
    this.#commands = commands.port1;
    this.#answers = answers.port1;
    const ports = { commands: commands.port2, answers: answers.port2 };
    const workerData: ThreadData = { ...ports, shared: this.#shared, folder };
    const heap = pluginHeap(process.constrainedMemory(), totalmem());
    this.#worker = new Worker(code, {
      eval: true,
      name: 'plugin',
      workerData,
      transferList: [commands.port2, answers.port2],
      // Modules in a context of their own; an ECMAScript feature that Node still calls experimental.
      execArgv: ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
      env: {},
      // What the plugin prints goes nowhere: its logger is the way out.
      stdin: false,
      stdout: true,
      stderr: true,
      trackUnmanagedFds: false,
      resourceLimits: { maxOldGenerationSizeMb: heap.oldMb, maxYoungGenerationSizeMb: heap.youngMb },
    });
    this.#worker.stdout.resume();
    this.#worker.stderr.resume();
    this.#commands.on('message', (message: ThreadMessage) => this.#take(message));
    this.#worker.on('error', (error: Error & { readonly code?: unknown }) => {
      if (this.#isTerminated) return;
      if (error.code === 'ERR_WORKER_OUT_OF_MEMORY') this.owner?.onOutOfMemory();
    });
    this.#worker.on('exit', (code) => {
      if (!this.#isTerminated) this.owner?.onExit(code);
    });
  }

  send(command: ThreadCommand): void {
    this.#commands.postMessage(command);
  }

  /** Resolves when no code runs in it any more. */
  async terminate(): Promise<void> {
    this.#isTerminated = true;
    await this.#worker.terminate();
  }

  #take(message: ThreadMessage) {
    const { owner } = this;
    if (owner === undefined) return;
    switch (message.kind) {
      case 'call': {
        const answer = owner.onCall(message.op, message.a, message.b, message.c);
        if (answer !== undefined) this.#answer(answer);
        return;
      }
      case 'loaded':
        return owner.onLoaded();
      case 'invalid':
        return owner.onInvalid(message.problem);
      case 'entering':
        return owner.onEntering();
      case 'entered':
        return owner.onEntered();
      case 'thrown':
        return owner.onThrown(message.thrown);
      default:
        // Only a plugin with Node's modules can have sent this, and it hurts only itself.
        return;
    }
  }

  #answer(answer: number | string): void {
    const isText = typeof answer === 'string';
    if (isText) this.#answers.postMessage(answer);
    Atomics.store(this.#shared, SHARED.isText, isText ? 1 : 0);
    Atomics.store(this.#shared, SHARED.value, isText ? 0 : answer);
    Atomics.add(this.#shared, SHARED.turn, 1);
    Atomics.notify(this.#shared, SHARED.turn);
  }
}
