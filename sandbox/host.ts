/**
 * The runner's end of the sandbox RPC towards engines and CLIs: one Caller for each connection, all attempts in one
 * table. Takes bundles in pieces and caps what a connection may have under way; what an attempt does is not its business.
 */
import type { Duplex } from 'node:stream';
import { type ErrorCode, isErrorCode } from '@flowops/proto/errors.ts';
import { isDigest } from '@flowops/proto/ids.ts';
import { Peer, type PeerEnd, type PeerMessage } from '@flowops/proto/peer.ts';
import { type Attach, AttachReply_State, type Invoke, type PutBundle } from '@flowops/proto/sandbox_pb.js';
import type { Logger } from 'pino';
import type { Caller } from './attempts/attempt-record.ts';
import type { AttachAnswer, AttemptTable, Mention } from './attempts/attempt-table.ts';
import { type HostResult, refusal } from './attempts/host-result.ts';
import type { BundleStore } from './bundles/bundle-store.ts';
import { BundleUpload } from './bundles/bundle-upload.ts';
import type { TierHostCall } from './tier.ts';

/** Attempts of one connection, waiting ones and unacknowledged results included. */
export const MAX_ATTEMPTS = 2048;
/** Bundles of one connection that come in at one time, 128 MiB at most; further ones are asked for later. */
const MAX_UPLOADS = 8;
/** Somebody's words, for a person. */
const MAX_REASON_LENGTH = 2048;

export interface HostOptions {
  readonly instance: string;
  readonly attempts: AttemptTable;
  readonly bundles: BundleStore;
  /** A CLI may debug plugins in this host. */
  readonly allowsDebug?: boolean;
  readonly log: Logger;
}

export class Host {
  readonly #options: HostOptions;
  readonly #connections = new Set<Connection>();

  constructor(options: HostOptions) {
    this.#options = options;
  }

  /** Serves a connection until it ends; resolves with why. */
  async serve(stream: Duplex): Promise<PeerEnd> {
    const connection = new Connection(stream, this.#options);
    this.#connections.add(connection);
    const end = await connection.peer.closed;
    this.#connections.delete(connection);
    this.#options.log.debug({ end, counters: connection.peer.counters }, 'connection ended');
    return end;
  }

  /** Idempotent. */
  close(): void {
    for (const connection of this.#connections) connection.peer.close('the sandbox host is shutting down');
  }
}

class Connection implements Caller {
  readonly peer: Peer;
  name = 'unknown';
  #isCli = false;
  readonly #options: HostOptions;
  readonly #uploads = new Map<string, BundleUpload>();
  /** Asked for here; a piece of anything else is not wanted. */
  readonly #asked = new Set<string>();
  readonly #toAsk = new Set<string>();
  readonly #tokens = new Set<string>();

  constructor(stream: Duplex, options: HostOptions) {
    this.#options = options;
    this.peer = new Peer({
      stream,
      side: 'runner',
      role: 'host',
      instance: options.instance,
      accepts: ['engine', 'cli'],
      maxAttempts: MAX_ATTEMPTS,
      onOpen: (remote) => {
        this.name = remote.instance;
        this.#isCli = remote.role === 'cli';
        options.log.debug({ role: remote.role, caller: remote.instance }, 'connected');
      },
      onMessage: (message) => this.#receive(message),
      onClosed: () => {
        for (const digest of [...this.#asked, ...this.#toAsk]) {
          options.attempts.withhold(digest, 'SANDBOX_UNAVAILABLE', 'the engine was lost');
        }
        options.attempts.abandon(this);
      },
    });
  }

  started(token: Uint8Array): void {
    this.peer.send({ case: 'started', value: { token } });
  }

  log(value: { token: Uint8Array; level: string; message: string; fieldsJson: Uint8Array; timeMs: bigint }): void {
    this.peer.send({ case: 'log', value });
  }

  progress(value: { token: Uint8Array; fraction: number; message: string }): void {
    this.peer.send({ case: 'progress', value });
  }

  hostCall(token: Uint8Array, { callId, method, payloadJson }: TierHostCall): boolean {
    return this.peer.send({ case: 'hostCall', value: { token, callId, method, payloadJson } }) !== 'closed';
  }

  result(result: HostResult): void {
    const sent = this.peer.send({ case: 'result', value: result });
    if (sent !== 'too-large') return;
    const message = `the outputs have ${result.outputsJson.length} bytes, more than the engine reads`;
    this.peer.send({ case: 'result', value: refusal(result.token, 'LIMIT_OUTPUT', message) });
  }

  #receive(message: PeerMessage) {
    const { attempts } = this.#options;
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
        this.#tokens.delete(keyOf(message.value.token));
        return this.#count(attempts.acknowledge(message.value.token));
      case 'hostReply':
        return this.#count(attempts.reply(message.value));
      default:
        return this.peer.fail(`${message.case} is not for a host`);
    }
  }

  #count(mention: Mention): void {
    if (mention !== 'done') this.peer.countDropped(mention);
  }

  #invoke(invoke: Invoke): void {
    if (!isDigest(invoke.digest)) {
      this.result(refusal(invoke.token, 'PLUGIN_INVALID', 'the digest of the bundle is not sha256: and 64 hex digits'));
      return;
    }
    if (invoke.debug && !(this.#options.allowsDebug === true && this.#isCli)) {
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
    const answer = this.#options.attempts.invoke(invoke, this, (digest) => this.#ask(digest));
    if (answer === 'duplicate') this.peer.countDropped('duplicate');
    else this.#tokens.add(key);
  }

  #ask(digest: string): void {
    if (this.#asked.has(digest)) return;
    if (this.#asked.size >= MAX_UPLOADS) {
      this.#toAsk.add(digest);
      return;
    }
    this.#asked.add(digest);
    this.peer.send({ case: 'needBundle', value: { digest } });
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
    const upload = this.#uploads.get(digest) ?? new BundleUpload(digest);
    this.#uploads.set(digest, upload);
    const taken = upload.take(piece);
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
    this.#uploads.delete(digest);
    then();
    for (const next of this.#toAsk) {
      this.#toAsk.delete(next);
      if (this.#options.attempts.isWaitedFor(next)) return this.#ask(next);
    }
  }
}

const ATTACH_STATES: Readonly<Record<AttachAnswer, AttachReply_State>> = {
  unknown: AttachReply_State.UNKNOWN,
  running: AttachReply_State.RUNNING,
  ended: AttachReply_State.ENDED,
  refused: AttachReply_State.REFUSED,
};

function keyOf(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.length).toString('hex');
}
