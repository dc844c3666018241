/**
 * One attempt as the worker sees it: waits for its bundle, gets an isolate, runs, ends once. Turns what the run tells
 * into messages and messages into what the run is told.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import { type Json, parseJson } from '@flowops/proto/json.ts';
import { checkManifest } from '@flowops/proto/manifest.ts';
import type { Peer } from '@flowops/proto/peer.ts';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import { type HostReply, type Invoke, Purpose } from '@flowops/proto/sandbox_pb.js';
import type { AheadIsolates } from './ahead.ts';
import type { LoadedBundle } from './bundles.ts';
import { declaredDifference } from './declared-difference.ts';
import { IsolateRun, type RunEvents } from './isolate-run.ts';
import type { IsolateShape, Prepared, PreparedIsolate } from './prepared-isolate.ts';
import { type ResultInit, resultMessage } from './result-message.ts';
import { failure, type RunEnd } from './run-end.ts';

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
  #inspectedJson: string | undefined;

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
    const { callId, ok, code, message } = reply;
    if (!ok) return this.#phase.run.reply(callId, { ok: false, code, message });
    return this.#phase.run.reply(callId, { ok: true, payloadJson: Buffer.from(reply.payloadJson).toString('utf8') });
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
    const { invoke, limits } = this.#options;
    const settings = {
      purpose: this.#isInspect ? ('inspect' as const) : ('run' as const),
      idempotencyKey: invoke.idempotencyKey,
      attempt: invoke.attempt,
      outputBytes: limits.outputBytes,
    };
    const inputsJson = Buffer.from(invoke.inputsJson).toString('utf8');
    const run = new IsolateRun(isolate, { settings, inputsJson, limits }, this.#events(bundle));
    this.#phase = { name: 'running', run };
    void run.outcome.then((outcome) => {
      const { token } = invoke;
      this.#end(outcome.end, resultMessage(token, outcome.end, { outcome, file: bundle.file }), outcome.isProven);
      if (outcome.isProven && !this.#isInspect) this.#options.ahead.refill(bundle, this.#shape);
    });
  }

  #events(bundle: LoadedBundle): RunEvents {
    const { peer, invoke } = this.#options;
    const { token } = invoke;
    return {
      onStarted: () => peer.send({ case: 'started', value: { token } }),
      onLog: (level, message, fieldsJson) =>
        peer.send({ case: 'log', value: { token, level, message, fieldsJson: Buffer.from(fieldsJson) } }),
      onProgress: (fraction, message) => peer.send({ case: 'progress', value: { token, fraction, message } }),
      onHostCall: (callId, method, payloadJson) =>
        peer.send({ case: 'hostCall', value: { token, callId, method, payloadJson: Buffer.from(payloadJson) } }),
      checkManifest: (manifestJson) => this.#checkManifest(bundle, manifestJson),
      inspectedJson: () => this.#inspectedJson,
      onCatastrophe: (end) => this.#end(end, resultMessage(token, end, { file: bundle.file }), false),
    };
  }

  #checkManifest(bundle: LoadedBundle, manifestJson: string): string {
    if (!this.#isInspect && manifestJson === bundle.knownManifestJson) return '';
    const parsed = parseJson(manifestJson);
    const checked = parsed.ok ? checkManifest(parsed.value) : parsed;
    if (!checked.ok) return `the declaration is not valid: ${checked.problem}`;
    const manifest = checked.manifest;
    if (!this.#isInspect && bundle.declared.ok) {
      const difference = declaredDifference(asJson(bundle.declared.manifest), asJson(manifest));
      if (difference !== undefined) return difference;
    }
    if (this.#isInspect) this.#inspectedJson = JSON.stringify(manifest);
    else bundle.knownManifestJson = manifestJson;
    return '';
  }

  #end(end: RunEnd, result: ResultInit = resultMessage(this.#options.invoke.token, end), isProven = true): void {
    if (this.#phase.name === 'ended') return;
    this.#phase = { name: 'ended' };
    this.#options.onEnded({ result, isProven });
  }
}

/** Without the members that are undefined, as it is on the wire. */
function asJson(manifest: object): Json {
  const parsed = parseJson(JSON.stringify(manifest));
  return parsed.ok ? parsed.value : null;
}
