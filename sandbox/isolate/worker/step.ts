/**
 * One attempt as the worker sees it: waits for its bundle, gets an isolate, runs, ends once. Turns what the run tells
 * into messages and messages into what the run is told.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { Peer } from '@flowops/proto/peer.ts';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import { type HostReply, type Invoke, Purpose } from '@flowops/proto/sandbox_pb.js';
import { type ResultInit, resultMessage } from '../../guest/result-message.ts';
import { failure, type RunEnd } from '../../guest/run-end.ts';
import { answerOf, settingsOf, stepEvents } from '../../guest/step-events.ts';
import type { AheadIsolates } from './ahead.ts';
import type { LoadedBundle } from './bundles.ts';
import { IsolateRun } from './isolate-run.ts';
import type { IsolateShape, Prepared, PreparedIsolate } from './prepared-isolate.ts';

export interface StepEnd {
  readonly result: ResultInit;
  /** False: code of it may still run; the process has to end. */
  readonly isProven: boolean;
}

export interface WorkerStepOptions {
  readonly invoke: Invoke;
  readonly limits: EffectiveLimits;
  readonly peer: Peer;
  readonly ahead: AheadIsolates;
  readonly onEnded: (end: StepEnd) => void;
}

type Phase =
  | { readonly name: 'waiting' }
  | { readonly name: 'preparing' }
  | { readonly name: 'running'; readonly run: IsolateRun }
  | { readonly name: 'ended' };

export class WorkerStep {
  readonly #options: WorkerStepOptions;
  readonly #shape: IsolateShape;
  readonly #isInspect: boolean;
  #phase: Phase = { name: 'waiting' };

  constructor(options: WorkerStepOptions) {
    this.#options = options;
    this.#isInspect = options.invoke.purpose === Purpose.INSPECT;
    this.#shape = { memoryMb: options.limits.memoryMb, isWasmAllowed: options.invoke.allowWasm };
  }

  waitsFor(digest: string): boolean {
    return this.#phase.name === 'waiting' && this.#options.invoke.digest === digest;
  }

  /** The bundle is there. */
  begin(bundle: LoadedBundle): void {
    if (this.#phase.name !== 'waiting') return;
    if (!bundle.declared.ok && !this.#isInspect) {
      this.refuse('PLUGIN_INVALID', bundle.declared.problem);
      return;
    }
    this.#phase = { name: 'preparing' };
    const waiting = this.#options.ahead.takeWaiting(bundle, this.#shape);
    if (waiting !== undefined) this.#start(bundle, waiting);
    else void this.#options.ahead.make(bundle, this.#shape).then((prepared) => this.#prepared(bundle, prepared));
  }

  /** Ends it before any code ran. */
  refuse(code: ErrorCode, message: string): void {
    this.#end(failure(code, message));
  }

  cancel(graceMs: number, reason: string): void {
    if (this.#phase.name === 'running') this.#phase.run.cancel(graceMs, reason);
    else this.#end({ status: 'CANCELLED', message: reason });
  }

  pause(): void {
    if (this.#phase.name === 'running') this.#phase.run.pause();
  }

  resume(): void {
    if (this.#phase.name === 'running') this.#phase.run.resume();
  }

  /** False when no such call waits. */
  reply(reply: HostReply): boolean {
    if (this.#phase.name !== 'running') return false;
    return this.#phase.run.reply(reply.callId, answerOf(reply));
  }

  #prepared(bundle: LoadedBundle, prepared: Prepared): void {
    if (this.#phase.name !== 'preparing') {
      // Cancelled meanwhile: nothing of the plugin ran.
      if (prepared.ok) prepared.isolate.dispose();
    } else if (prepared.ok) {
      this.#start(bundle, prepared.isolate);
    } else {
      this.refuse(prepared.code, prepared.message);
    }
  }

  #start(bundle: LoadedBundle, isolate: PreparedIsolate): void {
    const { invoke, limits, peer } = this.#options;
    const settings = settingsOf(invoke, limits.outputBytes);
    const inputsJson = Buffer.from(invoke.inputsJson).toString('utf8');
    const { token } = invoke;
    const run = new IsolateRun(
      isolate,
      { settings, inputsJson, limits },
      {
        ...stepEvents(peer, invoke, bundle),
        onCatastrophe: (end) => this.#end(end, resultMessage(token, end, { file: bundle.file }), false),
      },
    );
    this.#phase = { name: 'running', run };
    void run.outcome.then((outcome) => {
      this.#end(outcome.end, resultMessage(token, outcome.end, { outcome, file: bundle.file }), outcome.isProven);
      if (outcome.isProven && !this.#isInspect) this.#options.ahead.refill(bundle, this.#shape);
    });
  }

  #end(end: RunEnd, result: ResultInit = resultMessage(this.#options.invoke.token, end), isProven = true): void {
    if (this.#phase.name === 'ended') return;
    this.#phase = { name: 'ended' };
    this.#options.onEnded({ result, isProven });
  }
}
