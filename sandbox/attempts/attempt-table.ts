/**
 * Every attempt this host knows, by token: asks for its bundle, asks the policy, hands it to the tier, keeps its
 * result until it is acknowledged. Connections come and go (host.ts); attempts outlive them by the lease.
 *
 * Invariants:
 *   T1. A token is invoked once; a second Invoke of it is a duplicate.
 *   T2. The policy is asked at the moment an attempt starts, and again for each attempt.
 *   T3. A result is told only after the tier said that no code of the attempt runs, and kept until ResultAck, within
 *       the bounds of kept-results.ts.
 *   T4. Attempts without a caller are ended when the lease of their last one is over (unowned.ts, caller-lease.ts).
 *   T5. A reloaded policy is put to every attempt that a tier has (policy-change.ts).
 *   T6. What an attempt holds, inputs first and then its result, is counted for its caller in `heldBytes`; the caller
 *       decides how much that may be.
 */
import { isDebugMethod } from '@flowops/proto/debug-messages.ts';
import type { ErrorCode } from '@flowops/proto/errors.ts';
import { type HostReply, type Invoke, type Log, Purpose } from '@flowops/proto/sandbox_pb.js';
import type { Logger } from 'pino';
import type { BundleStore, StoredBundle } from '../bundles/bundle-store.ts';
import { BundlesInUse } from '../bundles/bundles-in-use.ts';
import { type AttemptHostCalls, type HostCallsParts, openHostCalls } from '../host-calls/host-calls.ts';
import type { PluginMemory } from '../ledger/plugin-ledger.ts';
import type { Policy, PolicySource } from '../policy/decision.ts';
import type { RuntimeProblem } from '../policy/docker-watch.ts';
import type { TierEnd, Tiers } from '../tier.ts';
import { type Admission, type AdmittedAttempt, admitAttempt } from './admission.ts';
import {
  type AttemptRecord,
  type Caller,
  type CancelRequest,
  keyOf,
  lifeLeftMs,
  newRecord,
  noteStarted,
} from './attempt-record.ts';
import { BundleWaiters } from './bundle-waiters.ts';
import { conclude } from './conclude.ts';
import { Epochs } from './epochs.ts';
import { cancelledBefore, type HostResult, refusal } from './host-result.ts';
import { KeptResults } from './kept-results.ts';
import type { OwnEnd } from './own-end.ts';
import { reconsider } from './policy-change.ts';
import { endlessProgress, ProgressCap } from './progress-cap.ts';
import { redactLine } from './redaction.ts';
import { Unowned } from './unowned.ts';

/** What an attempt costs beside its inputs and its result: names, timers, messages. */
export const ATTEMPT_BASE_BYTES = 4 * 1024;
const NOTHING = new Uint8Array(0);

export interface AttemptTableOptions {
  readonly tiers: Tiers;
  readonly bundles: BundleStore;
  readonly policy: PolicySource;
  readonly memory: PluginMemory;
  /** Why containers of a runtime may not be started here under `strictRuntimes: true`; absent: nothing is known. */
  readonly runtimeProblem?: (runtime: string) => RuntimeProblem | undefined;
  /** What isolate workers run under where they are containers themselves. */
  readonly workerRuntime?: () => string | undefined;
  readonly hostCalls: HostCallsParts;
  readonly log: Logger;
}

export type InvokeAnswer = 'accepted' | 'duplicate';
export type AttachAnswer = 'unknown' | 'running' | 'ended' | 'refused';
export type Mention = 'done' | 'late' | 'foreign';

export class AttemptTable {
  readonly #options: AttemptTableOptions;
  readonly #epochs = new Epochs();
  readonly #records = new Map<string, AttemptRecord>();
  readonly #kept = new KeptResults((key) => this.#forget(key));
  readonly #unowned = new Unowned();
  readonly #waiting = new BundleWaiters((record, waitedMs) =>
    this.#end(record, refusal(record.token, 'SANDBOX_UNAVAILABLE', `its bundle did not come in ${waitedMs} ms`)),
  );
  readonly #inUse = new BundlesInUse();
  readonly #unfollowPolicy: () => void;
  #isTaking = true;
  #whenDone: (() => void) | undefined;

  constructor(options: AttemptTableOptions) {
    this.#options = options;
    this.#unfollowPolicy = options.policy.onChange((policy) => this.#reconsiderAll(policy));
  }

  get size(): number {
    return this.#records.size;
  }

  /** Attempts that have not ended. */
  get underWay(): number {
    return [...this.#records.values()].filter(({ phase }) => phase.name !== 'ended').length;
  }

  /** `needsBundle` is called when the caller is to be asked for it. */
  invoke(invoke: Invoke, caller: Caller, needsBundle: (digest: string) => void): InvokeAnswer {
    const key = keyOf(invoke.token);
    if (this.#records.has(key)) return 'duplicate';
    const token = Uint8Array.from(invoke.token);
    const isFenced = !this.#epochs.admit(invoke.flowId, invoke.runId, invoke.epoch);
    if (isFenced || !this.#isTaking) {
      const why = isFenced
        ? `run ${invoke.runId} has a newer owner`
        : 'the sandbox host is ending and takes no more steps';
      caller.result(refusal(token, 'SANDBOX_UNAVAILABLE', why));
      return 'accepted';
    }
    const record = newRecord(key, { ...invoke, token, inputsJson: Uint8Array.from(invoke.inputsJson) }, caller);
    this.#records.set(key, record);
    this.#hold(record, invoke.inputsJson.length + ATTEMPT_BASE_BYTES);
    const bundle = this.#options.bundles.get(invoke.digest);
    if (bundle !== undefined) this.#start(record, bundle);
    else if (this.#waiting.add(record)) needsBundle(invoke.digest);
    return 'accepted';
  }

  /** The bundle came: what waited for it starts. */
  provide(bundle: StoredBundle): void {
    for (const record of this.#waiting.take(bundle.digest)) this.#start(record, bundle);
  }

  /** The bundle does not come: what waited for it ends. */
  withhold(digest: string, code: ErrorCode, message: string): void {
    for (const record of this.#waiting.take(digest)) this.#end(record, refusal(record.token, code, message));
  }

  isWaitedFor(digest: string): boolean {
    return this.#waiting.has(digest);
  }

  cancel(token: Uint8Array, epoch: bigint, request: CancelRequest): Mention {
    const record = this.#records.get(keyOf(token));
    if (record === undefined) return 'foreign';
    if (!this.#epochs.admit(record.invoke.flowId, record.invoke.runId, epoch)) return 'late';
    switch (record.phase.name) {
      case 'waiting-for-bundle':
        this.#waiting.drop(record);
        this.#end(record, cancelledBefore(record.token, request.reason));
        return 'done';
      case 'in-tier':
        record.isCancelled = true;
        record.phase.run.cancel(request);
        return 'done';
      case 'ended':
        return 'late';
    }
  }

  advise(token: Uint8Array, advice: 'pause' | 'resume'): Mention {
    const record = this.#records.get(keyOf(token));
    if (record === undefined) return 'foreign';
    if (record.phase.name === 'in-tier') record.phase.run[advice]();
    return record.phase.name === 'ended' ? 'late' : 'done';
  }

  /** The debugger's answer to a call of its attempt. */
  reply(reply: HostReply): Mention {
    const record = this.#records.get(keyOf(reply.token));
    if (record?.debug === undefined) return 'foreign';
    return record.debug.reply(reply) ? 'done' : 'late';
  }

  /** Takes the attempt over for another connection; an unknown one still raises the run's epoch. */
  attach(attach: { token: Uint8Array; flowId: string; runId: string; epoch: bigint }, caller: Caller): AttachAnswer {
    if (!this.#epochs.admit(attach.flowId, attach.runId, attach.epoch)) return 'refused';
    const record = this.#records.get(keyOf(attach.token));
    if (record === undefined) return 'unknown';
    this.#unowned.delete(record.key);
    this.#give(record, caller);
    return record.phase.name === 'ended' ? 'ended' : 'running';
  }

  /** What a caller that attached must be told after the reply. */
  repeat(token: Uint8Array): void {
    const record = this.#records.get(keyOf(token));
    if (record?.phase.name === 'ended') record.caller?.ended(record.token);
    else if (record?.hasStarted) record.caller?.started(record.token, lifeLeftMs(record));
  }

  /** The result of what has ended, for the caller that it belongs to now; `forgotten` when it is kept no longer. */
  resultFor(token: Uint8Array, caller: Caller): HostResult | 'forgotten' | undefined {
    const record = this.#records.get(keyOf(token));
    if (record === undefined) return 'forgotten';
    return record.caller === caller && record.phase.name === 'ended' ? record.phase.result : undefined;
  }

  acknowledge(token: Uint8Array): Mention {
    const record = this.#records.get(keyOf(token));
    if (record === undefined) return 'foreign';
    if (record.phase.name !== 'ended') return 'late';
    this.#forget(record.key);
    return 'done';
  }

  /** The caller's connection ended: its attempts wait for an Attach until its lease is over. */
  abandon(caller: Caller): void {
    for (const record of this.#records.values()) if (record.caller === caller) this.#disown(record, caller);
  }

  /** The same for one attempt, whose run has another owner; `late` when that one was here first. */
  leave(token: Uint8Array, caller: Caller): Mention {
    const record = this.#records.get(keyOf(token));
    if (record === undefined) return 'foreign';
    if (record.caller !== caller) return 'late';
    this.#disown(record, caller);
    return 'done';
  }

  /** Nothing is taken any more; resolves when nothing runs and every caller has acknowledged its results. */
  stopTaking(): Promise<void> {
    this.#isTaking = false;
    return new Promise((resolve) => {
      this.#whenDone = resolve;
      this.#lookWhetherDone();
    });
  }

  /** Ends all that runs, as a fault of this host and not of the plugins. */
  endAll(message: string): void {
    for (const record of this.#records.values()) {
      if (record.phase.name === 'waiting-for-bundle') {
        this.#waiting.drop(record);
        this.#end(record, refusal(record.token, 'SANDBOX_UNAVAILABLE', message));
      } else this.#endOwn(record, { kind: 'fail', code: 'SANDBOX_UNAVAILABLE', message });
    }
  }

  /** Stops every timer; the tier ends what runs. Idempotent. */
  close(): void {
    this.#unfollowPolicy();
    this.#unowned.close();
    this.#kept.close();
    this.#waiting.close();
    this.#records.clear();
  }

  #admit(record: AttemptRecord, bundle: StoredBundle, policy: Policy): Admission {
    const { memory, runtimeProblem } = this.#options;
    const workerRuntime = this.#options.workerRuntime?.();
    return admitAttempt(record.invoke, bundle, { policy, memory, runtimeProblem, workerRuntime, nowMs: Date.now() });
  }

  #start(record: AttemptRecord, bundle: StoredBundle): void {
    const admitted = this.#admit(record, bundle, this.#options.policy.current());
    if (!admitted.ok) {
      // What a policy or a manifest says stays so until somebody changes it.
      const isFinal = admitted.isPassing !== true;
      this.#end(record, refusal(record.token, admitted.code, admitted.message, isFinal));
      return;
    }
    if (!this.#inUse.take(bundle)) {
      const message = 'the sandbox host holds the bundles of too many other steps; it has room again when some end';
      this.#end(record, refusal(record.token, 'SANDBOX_UNAVAILABLE', message));
      return;
    }
    if (admitted.pinsName) this.#options.memory.pin(admitted.subject);
    const { request, grants } = admitted;
    const { rule, limits } = request;
    const calls = openHostCalls(
      {
        pluginName: bundle.manifest.name,
        permissions: bundle.manifest.permissions,
        rule,
        grants,
        maxCalls: limits.hostCalls,
        onExhausted: (problem) => {
          const message = `step ${request.stepId} was ended: ${problem}. Raise limits.hostCalls in ${rule}, or let it ask less`;
          this.#endOwn(record, { kind: 'fail', code: 'LIMIT_HOST_CALLS', message });
        },
        onNotice: (message) => this.#tell(record, message),
      },
      this.#options.hostCalls,
    );
    const progressCap = new ProgressCap();
    const run = this.#options.tiers[admitted.tier].run(request, {
      onStarted: () => {
        noteStarted(record, limits.wallMs);
        record.caller?.started(record.token, lifeLeftMs(record));
      },
      onRestarted: () => calls.restart(),
      onLog: (line) => this.#log(record, redactLine(line, calls)),
      onProgress: (progress) => {
        const told = progressCap.admit(progress, performance.now());
        if (progressCap.isBeyondAll) this.#endOwn(record, { kind: 'fail', ...endlessProgress(request.stepId) });
        if (told === undefined) return;
        record.caller?.progress({ token: record.token, ...told, message: calls.redact(told.message) });
      },
      onHostCall: (call) =>
        record.debug !== undefined && isDebugMethod(call.method)
          ? record.debug.forward(call, () => record.caller?.hostCall(record.token, call) ?? false)
          : calls.call(call),
    });
    record.phase = { name: 'in-tier', run, admitted };
    void run.ended.then((end) => this.#ended(record, admitted, end, calls));
  }

  #ended(record: AttemptRecord, admitted: AdmittedAttempt, end: TierEnd, calls: AttemptHostCalls): void {
    calls.close();
    record.debug?.close();
    this.#inUse.release(admitted.request.bundle);
    const { ownEnd, isCancelled } = record;
    if (ownEnd?.kind === 'again' && !isCancelled && !record.hasStarted && end.outcome.status === 'CANCELLED') {
      record.ownEnd = undefined;
      this.#start(record, admitted.request.bundle);
      return;
    }
    const tell = (message: string): void => this.#tell(record, message);
    this.#end(record, conclude({ record, admitted, end, calls, memory: this.#options.memory, tell }));
  }

  /** Ends it for a reason of this host's own; what the caller asked for before goes first. */
  #endOwn(record: AttemptRecord, end: OwnEnd): void {
    if (record.phase.name !== 'in-tier' || record.ownEnd?.kind === 'fail') return;
    record.ownEnd = end;
    const reason = end.kind === 'fail' ? end.message : 'the sandbox policy was changed before it began';
    record.phase.run.cancel({ graceMs: 0, reason });
  }

  #reconsiderAll(policy: Policy): void {
    for (const record of this.#records.values()) {
      const { phase, hasStarted, isCancelled, invoke } = record;
      if (phase.name !== 'in-tier' || isCancelled || invoke.purpose === Purpose.INSPECT) continue;
      const { admitted } = phase;
      const stopRunning = policy.stopRunning ?? false;
      if (hasStarted && !stopRunning) continue; // nothing to ask: it keeps what it began with
      const now = this.#admit(record, admitted.request.bundle, policy);
      const found = reconsider(admitted, now, { hasStarted, stopRunning });
      if (found.kind === 'keep') continue;
      this.#endOwn(record, found.kind === 'deny' ? { ...found, kind: 'fail' } : found);
    }
  }

  /** A line of ours in the step's log. */
  #tell(record: AttemptRecord, message: string): void {
    this.#log(record, { level: 'warn', message, fieldsJson: NOTHING });
  }

  #log(record: AttemptRecord, line: Pick<Log, 'level' | 'message' | 'fieldsJson'>): void {
    const isTaken = record.caller?.log({ ...line, token: record.token, timeMs: BigInt(Date.now()) }) ?? false;
    if (!isTaken) record.lostLines++;
  }

  #hold(record: AttemptRecord, bytes: number): void {
    if (record.caller !== undefined) record.caller.heldBytes += bytes - record.heldBytes;
    record.heldBytes = bytes;
  }

  #end(record: AttemptRecord, result: HostResult): void {
    if (this.#records.get(record.key) !== record) return;
    record.phase = { name: 'ended', result };
    record.invoke = { ...record.invoke, inputsJson: NOTHING };
    this.#hold(record, result.outputsJson.length + result.receiptJson.length + ATTEMPT_BASE_BYTES);
    this.#unowned.delete(record.key);
    this.#kept.add(record.key, record.heldBytes);
    record.caller?.ended(record.token);
    this.#lookWhetherDone();
  }

  #forget(key: string): void {
    const record = this.#records.get(key);
    if (record !== undefined) this.#hold(record, 0);
    this.#kept.delete(key);
    this.#records.delete(key);
    this.#lookWhetherDone();
  }

  #lookWhetherDone(): void {
    if (this.#whenDone === undefined) return;
    const records = [...this.#records.values()];
    if (records.every(({ phase, caller }) => phase.name === 'ended' && caller === undefined)) this.#whenDone();
  }

  #give(record: AttemptRecord, caller: Caller | undefined): void {
    const { heldBytes } = record;
    this.#hold(record, 0);
    record.caller = caller;
    this.#hold(record, heldBytes);
  }

  #disown(record: AttemptRecord, caller: Caller): void {
    this.#give(record, undefined);
    if (record.phase.name === 'waiting-for-bundle') {
      // Nobody is left who could give it.
      this.#waiting.drop(record);
      this.#end(record, refusal(record.token, 'SANDBOX_UNAVAILABLE', 'the engine was lost before the step began'));
    } else if (record.phase.name === 'in-tier') {
      this.#unowned.add(record.key, caller.leaseEndsAtMs, () => this.#expire(record));
    }
    this.#lookWhetherDone();
  }

  #expire(record: AttemptRecord): void {
    if (record.phase.name !== 'in-tier') return;
    this.#options.log.warn({ stepId: record.invoke.stepId, runId: record.invoke.runId }, 'the lease of a step is over');
    const message = 'the engine of this run was not heard of within the lease';
    this.#endOwn(record, { kind: 'fail', code: 'SANDBOX_UNAVAILABLE', message });
  }
}
