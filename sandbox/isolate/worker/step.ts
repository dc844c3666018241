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
import type { AheadIsolates, AheadShape } from './ahead.ts';
import type { LoadedBundle } from './bundles.ts';
import { DebugSession } from './debug-session.ts';
import { IsolateRun } from './isolate-run.ts';
import type { Prepared, PreparedIsolate } from './prepared-isolate.ts';

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
  /** The isolate is there, its debugger is not. */
  | { readonly name: 'held'; readonly isolate: PreparedIsolate }
  | { readonly name: 'running'; readonly run: IsolateRun }
  | { readonly name: 'ended' };

export class WorkerStep {
  readonly #options: WorkerStepOptions;
  readonly #shape: AheadShape;
  readonly #isInspect: boolean;
  #debug: DebugSession | undefined;
  #phase: Phase = { name: 'waiting' };

  constructor(options: WorkerStepOptions) {
    this.#options = options;
    this.#isInspect = options.invoke.purpose === Purpose.INSPECT;
    const { invoke, limits } = options;
    const { memoryMb, cpuMs, wallMs, outputBytes, logBytes, hostCalls } = limits;
    this.#shape = {
      memoryMb,
      isWasmAllowed: invoke.allowWasm,
      isDebugged: invoke.debug,
      // WebAssembly compiles beside its caller, and goes on after it.
      isKept: invoke.freshContext && !invoke.allowWasm && !invoke.debug && !this.#isInspect,
      policyHash: invoke.policyHash,
      limits: [memoryMb, cpuMs, wallMs, outputBytes, logBytes, hostCalls].join(),
    };
    options.ahead.usePolicy(invoke.policyHash);
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
    if (bundle.declared.ok && bundle.declared.manifest.runtime === 'node' && !this.#isInspect) {
      this.refuse('PLUGIN_INVALID', 'the manifest says runtime: "node", which runs in the container tier only');
      return;
    }
    this.#phase = { name: 'preparing' };
    const waiting = this.#shape.isDebugged ? undefined : this.#options.ahead.takeWaiting(bundle, this.#shape);
    if (waiting !== undefined) this.#start(bundle, waiting);
    else void this.#options.ahead.make(bundle, this.#shape).then((prepared) => this.#prepared(bundle, prepared));
  }

  /** Ends it before any code ran. */
  refuse(code: ErrorCode, message: string): void {
    this.#end(failure(code, message));
  }

  cancel(graceMs: number, reason: string): void {
    if (this.#phase.name === 'running') {
      this.#debug?.close(); // a plugin that stands at a breakpoint could not stop
      this.#phase.run.cancel(graceMs, reason);
      return;
    }
    const held = this.#phase.name === 'held' ? this.#phase.isolate : undefined;
    this.#end({ status: 'CANCELLED', message: reason });
    held?.dispose();
  }

  pause(): void {
    if (this.#phase.name === 'running') this.#phase.run.pause();
  }

  resume(): void {
    if (this.#phase.name === 'running') this.#phase.run.resume();
  }

  /** False when no such call waits. */
  reply(reply: HostReply): boolean {
    if (this.#debug?.reply(reply.callId, answerOf(reply)) === true) return true;
    if (this.#phase.name !== 'running') return false;
    return this.#phase.run.reply(reply.callId, answerOf(reply));
  }

  #prepared(bundle: LoadedBundle, prepared: Prepared): void {
    if (this.#phase.name !== 'preparing') {
      // Cancelled meanwhile: nothing of the plugin ran.
      if (prepared.ok) prepared.isolate.dispose();
    } else if (prepared.ok && this.#shape.isDebugged) {
      this.#hold(bundle, prepared.isolate);
    } else if (prepared.ok) {
      this.#start(bundle, prepared.isolate);
    } else {
      this.refuse(prepared.code, prepared.message);
    }
  }

  /** Told as started, so that nobody takes the wait for its debugger for a plugin that does not begin. */
  #hold(bundle: LoadedBundle, isolate: PreparedIsolate): void {
    const { token } = this.#options.invoke;
    const { peer } = this.#options;
    this.#phase = { name: 'held', isolate };
    peer.send({ case: 'started', value: { token } });
    const debug = new DebugSession({
      isolate: isolate.isolate,
      file: bundle.file,
      send: (callId, method, payloadJson) =>
        peer.send({ case: 'hostCall', value: { token, callId, method, payloadJson: Buffer.from(payloadJson) } }),
      begin: () => {
        if (this.#phase.name === 'held') this.#start(bundle, isolate);
      },
    });
    isolate.onDispose = () => debug.close();
    this.#debug = debug;
  }

  #start(bundle: LoadedBundle, isolate: PreparedIsolate): void {
    const { invoke, limits, peer } = this.#options;
    const settings = settingsOf(invoke, limits.outputBytes, bundle);
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
      if (outcome.isProven && !this.#isInspect && !this.#shape.isDebugged)
        this.#options.ahead.refill(bundle, this.#shape, run.takeKept());
    });
  }

  #end(end: RunEnd, result: ResultInit = resultMessage(this.#options.invoke.token, end), isProven = true): void {
    if (this.#phase.name === 'ended') return;
    this.#phase = { name: 'ended' };
    this.#debug?.close();
    this.#options.onEnded({ result, isProven });
  }
}
