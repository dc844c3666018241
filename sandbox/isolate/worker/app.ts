/**
 * The worker's side of the sandbox RPC: takes attempts from the host, gives each a fresh isolate, tells how it ended.
 * One worker runs the plugins of one trust domain and holds nothing worth stealing: no file, no network, no neighbour.
 *
 * Invariants:
 *   W1. Each attempt gets exactly one Result, or the worker dies: the host then decides how it ended.
 *   W2. A Result is sent after the attempt's code has ended for certain; where that cannot be shown in time, the
 *       worker tells the result and ends itself.
 *   W3. Once the connection to the host has gone, nothing runs any more.
 */
import type { Duplex } from 'node:stream';
import type { ErrorCode } from '@flowops/proto/errors.ts';
import { Peer, type PeerMessage } from '@flowops/proto/peer.ts';
import type { Cancel, HostReply, Invoke, PutBundle } from '@flowops/proto/sandbox_pb.js';
import { MAX_UNREAD_BYTES } from '../../guest/limits.ts';
import { type ResultInit, resultMessage } from '../../guest/result-message.ts';
import { failure } from '../../guest/run-end.ts';
import { AheadIsolates } from './ahead.ts';
import { type LoadedBundle, WorkerBundles } from './bundles.ts';
import { MAX_ATTEMPTS } from './limits.ts';
import type { IsolateFactory } from './prepared-isolate.ts';
import { type StepEnd, WorkerStep } from './step.ts';

/** For what was sent to leave before the process ends. */
const LAST_WORDS_MS = 500;
const NO_BYTES = new Uint8Array(0);

export interface WorkerOptions {
  readonly stream: Duplex;
  readonly instance: string;
  readonly factory: IsolateFactory;
  /** "isolated-vm 7.0.1", told as a capability. */
  readonly runtime: string;
  /** Ends the process because code may still run in it. Everything sent before has left. */
  readonly die: () => void;
  /** The host is gone. */
  readonly onClosed: (end: { readonly isIdle: boolean }) => void;
}

export class WorkerApp {
  readonly #options: WorkerOptions;
  readonly #peer: Peer;
  readonly #bundles = new WorkerBundles();
  readonly #ahead: AheadIsolates;
  readonly #steps = new Map<string, WorkerStep>();
  /** Bundles on their way whose code cache the host asked for. */
  readonly #cachesWanted = new Set<string>();
  #isDying = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#ahead = new AheadIsolates(options.factory);
    this.#peer = new Peer({
      stream: options.stream,
      side: 'runner',
      role: 'isolate-worker',
      instance: options.instance,
      accepts: ['host'],
      capabilities: [options.runtime, `v8 ${process.versions.v8}`],
      maxAttempts: MAX_ATTEMPTS,
      maxHeldBytes: MAX_UNREAD_BYTES,
      onMessage: (message) => this.#take(message),
      onClosed: () => {
        this.#ahead.close();
        if (!this.#isDying) options.onClosed({ isIdle: this.#steps.size === 0 });
      },
    });
  }

  #take(message: PeerMessage): void {
    switch (message.case) {
      case 'invoke':
        this.#invoke(message.value);
        break;
      case 'putBundle':
        this.#putBundle(message.value);
        break;
      case 'cancel':
        this.#cancel(message.value);
        break;
      case 'pause':
        this.#find(message.value.token)?.pause();
        break;
      case 'resume':
        this.#find(message.value.token)?.resume();
        break;
      case 'hostReply':
        this.#reply(message.value);
        break;
      case 'resultAck':
        // Nothing is kept after a Result: the host does that.
        break;
      default:
        this.#peer.countDropped('foreign');
    }
  }

  #invoke(invoke: Invoke): void {
    const key = Buffer.from(invoke.token).toString('hex');
    const { limits } = invoke;
    if (this.#steps.has(key)) {
      this.#peer.countDropped('duplicate');
    } else if (limits === undefined) {
      this.#refuse(invoke, 'PROTOCOL_ERROR', 'a worker was given a step without limits');
    } else if (this.#steps.size >= MAX_ATTEMPTS) {
      this.#refuse(invoke, 'SANDBOX_UNAVAILABLE', `the worker runs ${MAX_ATTEMPTS} steps already`);
    } else {
      const onEnded = ({ result, isProven }: StepEnd): void => {
        this.#steps.delete(key);
        this.#sendResult(result);
        if (!isProven) this.#die();
      };
      const step = new WorkerStep({ invoke, limits, peer: this.#peer, ahead: this.#ahead, onEnded });
      this.#steps.set(key, step);
      this.#begin(step, invoke.digest);
    }
  }

  #begin(step: WorkerStep, digest: string): void {
    const bundle = this.#bundles.get(digest);
    const isAsked = [...this.#steps.values()].some((other) => other !== step && other.waitsFor(digest));
    if (bundle !== undefined) step.begin(bundle);
    else if (!isAsked) this.#peer.send({ case: 'needBundle', value: { digest } });
  }

  #refuse(invoke: Invoke, code: ErrorCode, message: string): void {
    this.#sendResult(resultMessage(invoke.token, failure(code, message)));
  }

  #putBundle(piece: PutBundle): void {
    const waiting = [...this.#steps.values()].filter((step) => step.waitsFor(piece.digest));
    if (piece.missing !== '') {
      for (const step of waiting) step.refuse('PLUGIN_NOT_FOUND', piece.missing);
      return;
    }
    if (piece.makeCodeCache) this.#cachesWanted.add(piece.digest);
    const put = this.#bundles.put(piece);
    if (put.state !== 'incomplete' && this.#cachesWanted.delete(piece.digest)) {
      void this.#sendCodeCache(piece.digest, put.state === 'complete' ? put.bundle : undefined);
    }
    if (put.state === 'refused') for (const step of waiting) step.refuse('PLUGIN_INVALID', put.problem);
    if (put.state === 'complete') for (const step of waiting) step.begin(put.bundle);
  }

  /** The host sends no step before it has the answer. */
  async #sendCodeCache(digest: string, bundle: LoadedBundle | undefined): Promise<void> {
    const made = bundle === undefined ? undefined : await this.#options.factory.makeCodeCache(bundle);
    const sent = this.#peer.send({ case: 'codeCache', value: { digest, data: made ?? NO_BYTES } });
    if (sent === 'too-large') this.#peer.send({ case: 'codeCache', value: { digest, data: NO_BYTES } });
  }

  #cancel(cancel: Cancel): void {
    this.#find(cancel.token)?.cancel(cancel.graceMs, cancel.reason);
  }

  #reply(reply: HostReply): void {
    const isTaken = this.#find(reply.token)?.reply(reply);
    if (isTaken === false) this.#peer.countDropped('late');
  }

  #find(token: Uint8Array): WorkerStep | undefined {
    const step = this.#steps.get(Buffer.from(token).toString('hex'));
    if (step === undefined) this.#peer.countDropped('late');
    return step;
  }

  #sendResult(result: ResultInit): void {
    const sent = this.#peer.send({ case: 'result', value: result });
    if (sent !== 'too-large' || result.token === undefined) return;
    const end = failure('LIMIT_OUTPUT', 'the outputs do not fit into a frame of the sandbox protocol');
    this.#peer.send({ case: 'result', value: resultMessage(result.token, end) });
  }

  #die(): void {
    const { stream, die } = this.#options;
    const timer = setTimeout(die, LAST_WORDS_MS);
    stream.once('finish', () => {
      clearTimeout(timer);
      die();
    });
    this.#isDying = true;
    this.#peer.close('the end of a step could not be proven');
  }
}
