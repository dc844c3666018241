/**
 * The runner's end of the sandbox RPC towards engines and CLIs: one Caller for each connection, all attempts in one
 * table. Takes bundles in pieces and caps what a connection may have under way; what an attempt does is not its business.
 */
import type { Duplex } from 'node:stream';
import { MAX_SIGNATURE_TEXT_BYTES } from '@flowops/proto/bundle-signature.ts';
import { type ErrorCode, isErrorCode } from '@flowops/proto/errors.ts';
import { isDigest } from '@flowops/proto/ids.ts';
import { Peer, type PeerEnd, type PeerMessage, type RemoteHello } from '@flowops/proto/peer.ts';
import { type Attach, AttachReply_State, type Invoke, type PutBundle } from '@flowops/proto/sandbox_pb.js';
import { DEFAULT_MAX_HELD_BYTES } from '@flowops/proto/send-queue.ts';
import type { Logger } from 'pino';
import { type Caller, keyOf } from './attempts/attempt-record.ts';
import { ATTEMPT_BASE_BYTES, type AttachAnswer, type AttemptTable, type Mention } from './attempts/attempt-table.ts';
import { CallerLease } from './attempts/caller-lease.ts';
import { type HostResult, refusal } from './attempts/host-result.ts';
import type { BundleStore } from './bundles/bundle-store.ts';
import { BundleUpload } from './bundles/bundle-upload.ts';
import type { TierHostCall } from './tier.ts';

/** Attempts of one connection, waiting ones and unacknowledged results included. */
export const MAX_ATTEMPTS = 2048;
/**
 * Inputs of one connection's attempts and results it has not acknowledged, all together: sixteen attempts with the
 * largest inputs, tens of thousands of usual ones. More are refused until some are done.
 */
export const MAX_ATTEMPT_BYTES = 128 * 1024 * 1024;
/** Bundles that are asked for at one time, so that the caller can read ahead; their pieces come one bundle at a time. */
const MAX_ASKED = 8;
/** While more than this waits to be read, logs and progress are dropped and counted: a third of what may wait at all. */
const MAX_WAITING_TALK_BYTES = DEFAULT_MAX_HELD_BYTES / 3;
/** Flow, run, step, plugin, keys: ids have 128 characters, and a key is made of a few of them. */
const MAX_NAME_LENGTH = 1024;
/** In place of a longer one: refused for its length too. */
const OVERLONG_SIGNATURE = ' '.repeat(MAX_SIGNATURE_TEXT_BYTES + 1);
/** Somebody's words, for a person. */
const MAX_REASON_LENGTH = 2048;

export interface HostOptions {
  readonly instance: string;
  readonly attempts: AttemptTable;
  readonly bundles: BundleStore;
  /** A CLI may debug plugins in this host. */
  readonly allowsDebug?: boolean;
  readonly leaseMs: number;
  readonly cores?: number;
  /** Other hosts of this FLOWOPS_HOME that have ended. */
  readonly endedInstances?: readonly string[];
  /** An engine has connected: runs will name this instance. */
  readonly onEngine?: () => void;
  readonly log: Logger;
}

export class Host {
  readonly #options: HostOptions;
  readonly #connections = new Set<Connection>();
  #isDraining = false;

  constructor(options: HostOptions) {
    this.#options = options;
  }

  /** Serves a connection until it ends; resolves with why. */
  async serve(stream: Duplex): Promise<PeerEnd> {
    const connection = new Connection(stream, this.#options);
    this.#connections.add(connection);
    if (this.#isDraining) connection.tellDraining();
    const end = await connection.peer.closed;
    this.#connections.delete(connection);
    this.#options.log.debug({ end, counters: connection.peer.counters }, 'connection ended');
    return end;
  }

  /** Takes no new attempts, and tells everybody so; resolves when nothing runs and all results are acknowledged. */
  drain(): Promise<void> {
    this.#isDraining = true;
    for (const connection of this.#connections) connection.tellDraining();
    return this.#options.attempts.stopTaking();
  }

  /** Idempotent. */
  close(): void {
    for (const connection of this.#connections) connection.peer.close('the sandbox host is shutting down');
  }
}

class Connection implements Caller {
  readonly peer: Peer;
  name = 'unknown';
  heldBytes = 0;
  #remote: RemoteHello | undefined;
  #isDraining = false;
  /** Absent for a command: nobody takes its attempts over, and they end with its connection. */
  #lease: CallerLease | undefined;
  readonly #options: HostOptions;
  /** The bundle that comes in. */
  #upload: BundleUpload | undefined;
  /** Asked for here; a piece of anything else is not wanted. */
  readonly #asked = new Set<string>();
  readonly #toAsk = new Set<string>();
  /** Its attempts, until their result was told and acknowledged. */
  readonly #tokens = new Set<string>();
  /** Results that wait to be told; true when they were acknowledged before. */
  readonly #untold = new Map<string, boolean>();

  constructor(stream: Duplex, options: HostOptions) {
    this.#options = options;
    this.peer = new Peer({
      stream,
      side: 'runner',
      role: 'host',
      instance: options.instance,
      accepts: ['engine', 'cli'],
      maxAttempts: MAX_ATTEMPTS,
      capabilities: ['leave'],
      leaseMs: options.leaseMs,
      endedInstances: options.endedInstances ?? [],
      cores: options.cores ?? 0,
      onOpen: (remote) => this.#open(remote),
      onMessage: (message) => this.#receive(message),
      onClosed: () => {
        this.#lease?.close();
        for (const digest of [...this.#asked, ...this.#toAsk]) {
          options.attempts.withhold(digest, 'SANDBOX_UNAVAILABLE', 'the engine was lost');
        }
        options.attempts.abandon(this);
      },
    });
  }

  get leaseEndsAtMs(): number {
    return this.#lease?.endsAtMs ?? performance.now();
  }

  tellDraining(): void {
    this.#isDraining = true;
    if (this.#remote?.capabilities.includes('draining')) this.peer.send({ case: 'draining', value: {} });
  }

  started(token: Uint8Array, wallMs: number): void {
    this.peer.send({ case: 'started', value: { token, wallMs } });
  }

  log(value: { token: Uint8Array; level: string; message: string; fieldsJson: Uint8Array; timeMs: bigint }): boolean {
    return this.#hasRoomForTalk && this.peer.send({ case: 'log', value }) !== 'closed';
  }

  progress(value: { token: Uint8Array; fraction: number; message: string }): void {
    if (this.#hasRoomForTalk) this.peer.send({ case: 'progress', value });
  }

  hostCall(token: Uint8Array, { callId, method, payloadJson }: TierHostCall): boolean {
    const value = { token, callId, method, payloadJson };
    return this.#hasRoomForTalk && this.peer.send({ case: 'hostCall', value }) !== 'closed';
  }

  result(result: HostResult): void {
    this.peer.send({ case: 'result', value: result });
  }

  /** Nothing of a result is held here: it is fetched when the engine has room for it, once, however often it asks. */
  ended(token: Uint8Array): void {
    const key = keyOf(token);
    if (this.#untold.has(key)) return;
    this.#untold.set(key, false);
    this.peer.sendWhenRoom(
      () => {
        const value = this.#resultOf(key, token);
        return value === undefined ? undefined : { case: 'result', value };
      },
      (told) => {
        if (told === 'too-large') {
          const bytes = this.#resultOf(key, token)?.outputsJson.length;
          const message = `the outputs have ${bytes} bytes, more than the engine reads`;
          this.result(refusal(token, 'LIMIT_OUTPUT', message));
        }
        if (this.#untold.get(key) === true) this.#tokens.delete(key);
        this.#untold.delete(key);
      },
    );
  }

  get #hasRoomForTalk(): boolean {
    return this.peer.heldBytes < MAX_WAITING_TALK_BYTES;
  }

  #resultOf(key: string, token: Uint8Array): HostResult | undefined {
    if (this.#untold.get(key) === true) return undefined;
    const result = this.#options.attempts.resultFor(token, this);
    if (result !== 'forgotten') return result;
    return refusal(token, 'SANDBOX_UNAVAILABLE', 'its result was not read in time and is not kept any more');
  }

  #open(remote: RemoteHello): void {
    const { leaseMs, attempts, log, onEngine } = this.#options;
    this.#remote = remote;
    this.name = remote.instance;
    log.debug({ role: remote.role, caller: remote.instance }, 'connected');
    if (this.#isDraining) this.tellDraining();
    if (remote.role !== 'engine') return;
    onEngine?.();
    this.#lease = new CallerLease({
      leaseMs,
      ask: (onAnswer) => this.peer.ping(onAnswer, attempts.underWay),
      onOver: () => this.peer.fail(`it was not heard of for ${leaseMs} ms`),
    });
  }

  #receive(message: PeerMessage) {
    const { attempts } = this.#options;
    const problem = overlongName(message);
    if (problem !== undefined) return this.peer.fail(problem);
    switch (message.case) {
      case 'invoke':
        return this.#invoke(message.value);
      case 'putBundle':
        return this.#takeBundle(message.value);
      case 'attach':
        return this.#attach(message.value);
      case 'pause':
      case 'resume':
        return this.#count(attempts.advise(message.value.token, message.case));
      case 'cancel': {
        const { token, epoch, graceMs, reason } = message.value;
        return this.#count(attempts.cancel(token, epoch, { graceMs, reason: reason.slice(0, MAX_REASON_LENGTH) }));
      }
      case 'resultAck':
        return this.#acknowledge(message.value.token);
      case 'leave':
        return this.#leave(message.value.token);
      case 'hostReply':
        return this.#count(attempts.reply(message.value));
      default:
        return this.peer.fail(`${message.case} is not for a host`);
    }
  }

  /** Whoever acknowledges what it was not told yet keeps its place until then: such places are bounded too. */
  #acknowledge(token: Uint8Array): void {
    const key = keyOf(token);
    const mention = this.#options.attempts.acknowledge(token);
    if (!this.#untold.has(key)) this.#tokens.delete(key);
    else if (mention === 'done') this.#untold.set(key, true);
    this.#count(mention);
  }

  #leave(token: Uint8Array): void {
    const key = keyOf(token);
    this.#count(this.#options.attempts.leave(token, this));
    if (this.#untold.has(key)) this.#untold.set(key, true);
    else this.#tokens.delete(key);
  }

  #count(mention: Mention): void {
    if (mention !== 'done') this.peer.countDropped(mention);
  }

  #invoke(invoke: Invoke): void {
    if (!isDigest(invoke.digest)) {
      this.result(refusal(invoke.token, 'PLUGIN_INVALID', 'the digest of the bundle is not sha256: and 64 hex digits'));
      return;
    }
    if (invoke.debug && !(this.#options.allowsDebug === true && this.#remote?.role === 'cli')) {
      this.result(refusal(invoke.token, 'POLICY_DENIED', 'plugins cannot be debugged in this sandbox host', true));
      return;
    }
    const key = keyOf(invoke.token);
    if (this.#tokens.size >= MAX_ATTEMPTS && !this.#tokens.has(key)) {
      this.result(
        refusal(invoke.token, 'SANDBOX_UNAVAILABLE', `the sandbox host has ${MAX_ATTEMPTS} attempts of this engine`),
      );
      return;
    }
    if (this.heldBytes + invoke.inputsJson.length + ATTEMPT_BASE_BYTES > MAX_ATTEMPT_BYTES) {
      const message = `attempts of this engine hold ${this.heldBytes} bytes in the sandbox host; at most ${MAX_ATTEMPT_BYTES} are held`;
      this.result(refusal(invoke.token, 'SANDBOX_UNAVAILABLE', message));
      return;
    }
    // Not a part of it: V8 would keep the whole text for that.
    if (invoke.signature.length > MAX_SIGNATURE_TEXT_BYTES) invoke.signature = OVERLONG_SIGNATURE;
    const answer = this.#options.attempts.invoke(invoke, this, (digest) => this.#ask(digest));
    if (answer === 'duplicate') this.peer.countDropped('duplicate');
    else this.#tokens.add(key);
  }

  #ask(digest: string): void {
    if (this.#asked.has(digest)) return;
    if (this.#asked.size >= MAX_ASKED) this.#dropUnwanted();
    if (this.#asked.size >= MAX_ASKED) {
      this.#toAsk.add(digest);
      return;
    }
    this.#asked.add(digest);
    this.peer.send({ case: 'needBundle', value: { digest } });
  }

  /** Nobody waits for them any more: their attempts were cancelled, or waited too long. */
  #dropUnwanted(): void {
    for (const digest of this.#asked) if (!this.#options.attempts.isWaitedFor(digest)) this.#asked.delete(digest);
    if (this.#upload !== undefined && !this.#asked.has(this.#upload.digest)) this.#upload = undefined;
  }

  #attach(attach: Attach): void {
    const answer = this.#options.attempts.attach(attach, this);
    this.peer.send({ case: 'attachReply', value: { token: attach.token, state: ATTACH_STATES[answer] } });
    if (answer !== 'running' && answer !== 'ended') return;
    this.#tokens.add(keyOf(attach.token));
    this.#options.attempts.repeat(attach.token);
  }

  #takeBundle(piece: PutBundle) {
    const { digest } = piece;
    const { attempts, bundles } = this.#options;
    if (!this.#asked.has(digest)) return this.peer.countDropped('foreign');
    if (piece.missing !== '') {
      const code: ErrorCode = isErrorCode(piece.missingCode) ? piece.missingCode : 'PLUGIN_NOT_FOUND';
      return this.#finishUpload(digest, () =>
        attempts.withhold(digest, code, piece.missing.slice(0, MAX_REASON_LENGTH)),
      );
    }
    if (this.#upload !== undefined && this.#upload.digest !== digest) {
      if (attempts.isWaitedFor(this.#upload.digest)) return this.peer.fail('pieces of two bundles at a time');
      this.#dropUnwanted();
    }
    this.#upload ??= new BundleUpload(digest);
    const taken = this.#upload.take(piece);
    switch (taken.kind) {
      case 'more':
        return;
      case 'protocol':
        return this.peer.fail(taken.problem);
      case 'bad':
        return this.#finishUpload(digest, () =>
          attempts.withhold(digest, 'PLUGIN_INVALID', `the bundle: ${taken.problem}`),
        );
      case 'whole': {
        const added = bundles.add({ digest, bytes: taken.bytes });
        return this.#finishUpload(digest, () => {
          if (added.ok) attempts.provide(added.bundle);
          else attempts.withhold(digest, 'PLUGIN_INVALID', added.problem);
        });
      }
    }
  }

  #finishUpload(digest: string, then: () => void) {
    this.#asked.delete(digest);
    if (this.#upload?.digest === digest) this.#upload = undefined;
    then();
    for (const next of this.#toAsk) {
      this.#toAsk.delete(next);
      if (this.#options.attempts.isWaitedFor(next)) return this.#ask(next);
    }
  }
}

/**
 * The first name that is longer than any of ours: an engine of ours never sends one, and names are kept, so that their
 * length is what they cost. Not the signature: that is a stranger's text, and refused with its attempt.
 */
function overlongName(message: PeerMessage): string | undefined {
  if (message.case !== 'invoke' && message.case !== 'attach') return undefined;
  for (const [name, value] of Object.entries(message.value)) {
    if (name !== 'signature' && typeof value === 'string' && value.length > MAX_NAME_LENGTH) {
      return `${message.case} with a ${name} of ${value.length} characters`;
    }
  }
  return undefined;
}

const ATTACH_STATES: Readonly<Record<AttachAnswer, AttachReply_State>> = {
  unknown: AttachReply_State.UNKNOWN,
  running: AttachReply_State.RUNNING,
  ended: AttachReply_State.ENDED,
  refused: AttachReply_State.REFUSED,
};
