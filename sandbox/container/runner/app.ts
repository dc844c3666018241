/**
 * The runner's side of the sandbox RPC: one attempt, one Result, and the end. It holds nothing worth stealing: no file,
 * no network, no secret, no neighbour.
 *
 * Invariants:
 *   S1. The first Invoke is run; every later one is refused. One Result is sent, or the process dies and the host
 *       decides how the attempt ended.
 *   S2. Once the connection to the host has gone, or the Result is with it, the process ends.
 */
import type { Duplex } from 'node:stream';
import type { ErrorCode } from '@flowops/proto/errors.ts';
import { Peer, type PeerMessage } from '@flowops/proto/peer.ts';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import { type Invoke, Purpose, type PutBundle } from '@flowops/proto/sandbox_pb.js';
import { BundlePieces, type GuestBundle } from '../../guest/bundle-pieces.ts';
import { MAX_UNREAD_BYTES } from '../../guest/limits.ts';
import { type ResultInit, resultMessage } from '../../guest/result-message.ts';
import { failure, type RunEnd, type RunOutcome } from '../../guest/run-end.ts';
import { answerOf, settingsOf, stepEvents } from '../../guest/step-events.ts';
import type { GuestThread } from './guest-thread.ts';
import { ACK_WAIT_MS } from './limits.ts';
import { ThreadRun } from './thread-run.ts';

export interface RunnerOptions {
  readonly stream: Duplex;
  readonly instance: string;
  /** "node v24.21.0", told as a capability. */
  readonly runtime: string;
  readonly thread: GuestThread;
  /** 1.5: the kernel's CPU figures may be half as much again as what was used. */
  readonly cpuClockRate: number;
  /** Called once. `isProven: false`: code of the plugin may still run, and only the end of the process stops it. */
  readonly onDone: (end: { readonly isProven: boolean }) => void;
}

type Phase =
  | { readonly name: 'idle' }
  | { readonly name: 'waiting'; readonly invoke: Invoke; readonly limits: EffectiveLimits }
  | { readonly name: 'running'; readonly invoke: Invoke; readonly run: ThreadRun }
  /** The Result is on its way. */
  | { readonly name: 'told'; readonly isProven: boolean; readonly timer: NodeJS.Timeout }
  | { readonly name: 'done' };

export class RunnerApp {
  readonly #options: RunnerOptions;
  readonly #peer: Peer;
  readonly #pieces = new BundlePieces();
  /** A host may send the bundle before it is asked. */
  #bundle: GuestBundle | undefined;
  #phase: Phase = { name: 'idle' };

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#peer = new Peer({
      stream: options.stream,
      side: 'runner',
      role: 'step-runner',
      instance: options.instance,
      accepts: ['host'],
      capabilities: [options.runtime],
      maxAttempts: 1,
      maxHeldBytes: MAX_UNREAD_BYTES,
      onMessage: (message) => this.#take(message),
      onClosed: () => this.#done(this.#phase.name !== 'running'),
    });
  }

  #take(message: PeerMessage) {
    const phase = this.#phase;
    switch (message.case) {
      case 'invoke':
        return this.#invoke(message.value);
      case 'putBundle':
        return this.#putBundle(message.value);
      case 'resultAck':
        return phase.name === 'told' ? this.#done(phase.isProven) : undefined;
      case 'cancel':
        return this.#cancel(message.value.graceMs, message.value.reason);
      case 'pause':
        return phase.name === 'running' ? phase.run.pause() : undefined;
      case 'resume':
        return phase.name === 'running' ? phase.run.resume() : undefined;
      case 'hostReply':
        if (phase.name !== 'running' || !phase.run.reply(message.value.callId, answerOf(message.value))) {
          this.#peer.countDropped('late');
        }
        return;
      default:
        this.#peer.countDropped('foreign');
    }
  }

  #invoke(invoke: Invoke) {
    if (this.#phase.name !== 'idle') {
      this.#send(resultMessage(invoke.token, failure('SANDBOX_UNAVAILABLE', 'a container runs one step')));
    } else if (invoke.limits === undefined) {
      this.#tell(invoke.token, failure('PROTOCOL_ERROR', 'a runner was given a step without limits'));
    } else {
      this.#phase = { name: 'waiting', invoke, limits: invoke.limits };
      if (this.#bundle?.digest === invoke.digest) this.#begin(this.#bundle);
      else this.#peer.send({ case: 'needBundle', value: { digest: invoke.digest } });
    }
  }

  #putBundle(piece: PutBundle) {
    if (piece.missing !== '') return this.#refuse('PLUGIN_NOT_FOUND', piece.missing);
    const put = this.#pieces.put(piece);
    if (put.state === 'refused') return this.#refuse('PLUGIN_INVALID', put.problem);
    if (put.state === 'incomplete') return;
    this.#bundle = put.bundle;
    if (this.#phase.name === 'waiting' && this.#phase.invoke.digest === put.bundle.digest) this.#begin(put.bundle);
  }

  #begin(bundle: GuestBundle) {
    if (this.#phase.name !== 'waiting') return;
    const { invoke, limits } = this.#phase;
    const isInspect = invoke.purpose === Purpose.INSPECT;
    if (!bundle.declared.ok && !isInspect) return this.#refuse('PLUGIN_INVALID', bundle.declared.problem);
    const run = new ThreadRun(
      this.#options.thread,
      {
        bundle,
        mode: bundle.declared.ok && bundle.declared.manifest.runtime === 'node' ? 'node' : 'context',
        isWasmAllowed: invoke.allowWasm,
        settings: settingsOf(invoke, limits.outputBytes, bundle),
        inputsJson: Buffer.from(invoke.inputsJson).toString('utf8'),
        limits,
        cpuClockRate: this.#options.cpuClockRate,
      },
      stepEvents(this.#peer, invoke, bundle),
    );
    this.#phase = { name: 'running', invoke, run };
    void run.outcome.then((outcome) => this.#tell(invoke.token, outcome.end, { outcome, file: bundle.file }));
  }

  #cancel(graceMs: number, reason: string): void {
    if (this.#phase.name === 'running') this.#phase.run.cancel(graceMs, reason);
    else if (this.#phase.name === 'waiting') {
      this.#tell(this.#phase.invoke.token, { status: 'CANCELLED', message: reason });
    }
  }

  /** Ends the attempt that waits for its bundle, before any code ran. */
  #refuse(code: ErrorCode, message: string): void {
    if (this.#phase.name === 'waiting') this.#tell(this.#phase.invoke.token, failure(code, message));
  }

  #tell(token: Uint8Array, end: RunEnd, run?: { outcome: RunOutcome; file: string }): void {
    if (this.#phase.name === 'told' || this.#phase.name === 'done') return;
    const isProven = run?.outcome.isProven ?? true;
    this.#phase = { name: 'told', isProven, timer: setTimeout(() => this.#done(isProven), ACK_WAIT_MS) };
    this.#send(resultMessage(token, end, run));
  }

  #send(result: ResultInit): void {
    const sent = this.#peer.send({ case: 'result', value: result });
    if (sent !== 'too-large' || result.token === undefined) return;
    const end = failure('LIMIT_OUTPUT', 'the outputs do not fit into a frame of the sandbox protocol');
    this.#peer.send({ case: 'result', value: resultMessage(result.token, end) });
  }

  #done(isProven: boolean): void {
    if (this.#phase.name === 'done') return;
    if (this.#phase.name === 'told') clearTimeout(this.#phase.timer);
    this.#phase = { name: 'done' };
    this.#options.onDone({ isProven });
  }
}
