/**
 * The caller's end of the sandbox RPC: a `SandboxHost` (attempt.ts) over any duplex stream. Used by the engine, by
 * `flowops sandbox run` and by the SDK's build. Owns the table of attempts of one connection; starting a host process
 * is host-process.ts.
 *
 * Invariants:
 *   C1. Every attempt's outcome settles once: with its Result, or as LOST when the connection ends first.
 *   C2. A bundle is read once at a time per digest, however many attempts wait for it (bundle-sender.ts).
 *   C3. Frames about attempts that ended or were never ours are dropped and counted.
 *   C4. An attempt becomes bytes when the host has room for it; until then it costs no more than its request.
 */
import type { Duplex } from 'node:stream';
import type { AttachResult, Attempt, AttemptListener, AttemptOutcome, AttemptRequest, SandboxHost } from './attempt.ts';
import { type Entry, hexOf, invokeOf, lifeLeftMs, noteStarted } from './attempt-entry.ts';
import { failedOutcome, readLog, readResult } from './attempt-reports.ts';
import { BundleSender } from './bundle-sender.ts';
import type { ErrorCode } from './errors.ts';
import { type HostPresence, PresenceWatch } from './host-presence.ts';
import { type LaterResult, Peer, type PeerCounters, type PeerMessage, type RemoteHello } from './peer.ts';
import { type AttachReply, AttachReply_State, type HostCall } from './sandbox_pb.js';

export interface ConnectOptions {
  readonly stream: Duplex;
  readonly role: 'engine' | 'cli';
  /** This process, for the host's log. */
  readonly instance: string;
  readonly helloTimeoutMs?: number;
  /** Other engines reach the host too. Absent: it is ours, and `onClose` ends it. */
  readonly isShared?: boolean;
  /**
   * Whether we still stand by our attempts, asked at each Ping of the host: while false it gets no answer, and ends them
   * when its lease is over. Absent: always.
   */
  readonly vouches?: () => boolean;
  /** Called once, when the connection has ended for whatever reason: ends the process behind it. */
  readonly onClose?: () => Promise<void>;
  readonly signal?: AbortSignal;
}

export type ConnectResult =
  | { readonly ok: true; readonly host: ConnectedHost }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

export interface ConnectedHost extends SandboxHost {
  readonly counters: Readonly<PeerCounters>;
  readonly capabilities: readonly string[];
  /** After which the host ends the attempts of a caller that it hears nothing from; 0: it does not say. */
  readonly leaseMs: number;
  /** Other hosts of its FLOWOPS_HOME whose processes had ended when it said Hello. */
  readonly endedInstances: readonly string[];
  /** Of its machine; 0: not told. */
  readonly cores: number;
  readonly presence: HostPresence;
}

/** Says Hello and waits for the host's. */
export function connectSandboxHost(options: ConnectOptions): Promise<ConnectResult> {
  return new Promise((resolve) => {
    const onAbort = (): void => client.peer.close('the connection was not wanted any more');
    const client: Client = new Client(options, (remote) => {
      options.signal?.removeEventListener('abort', onAbort);
      resolve({ ok: true, host: client.host(remote) });
    });
    client.peer.closed.then((end) => {
      options.signal?.removeEventListener('abort', onAbort);
      const code = end.kind === 'protocol-error' ? 'PROTOCOL_ERROR' : 'SANDBOX_UNAVAILABLE';
      resolve({ ok: false, code, message: `the sandbox host did not answer: ${end.message}` });
    });
    options.signal?.addEventListener('abort', onAbort, { once: true });
    if (options.signal?.aborted) onAbort();
  });
}

interface PendingAttach {
  readonly entry: Entry;
  readonly attempt: Attempt;
  readonly resolve: (result: AttachResult) => void;
}

class Client {
  readonly peer: Peer;
  readonly #options: ConnectOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #attaching = new Map<string, PendingAttach>();
  readonly #bundles: BundleSender;
  readonly #presence: PresenceWatch;
  #canBeLeft = false;
  #closing: Promise<void> | undefined;

  constructor(options: ConnectOptions, onOpen: (remote: RemoteHello) => void) {
    this.#options = options;
    this.#presence = new PresenceWatch({
      vouches: options.vouches ?? (() => true),
      bytesIn: () => this.peer.counters.bytesIn,
      onSilence: (ms) => this.peer.fail(`nothing was heard of it for ${ms} ms`),
    });
    this.peer = new Peer({
      stream: options.stream,
      side: 'caller',
      role: options.role,
      instance: options.instance,
      accepts: ['host'],
      capabilities: ['draining'],
      ...(options.helloTimeoutMs === undefined ? {} : { helloTimeoutMs: options.helloTimeoutMs }),
      onOpen: (remote) => {
        this.#canBeLeft = remote.capabilities.includes('leave');
        // A private host is ended for it: it gets the whole lease. With a shared one there must be time to come back.
        const silenceMs = options.isShared === true ? remote.leaseMs / 2 : remote.leaseMs;
        // A host asks engines only.
        if (silenceMs > 0 && options.role === 'engine') this.#presence.watch(silenceMs);
        onOpen(remote);
      },
      onPing: (load) => this.#presence.asked(load),
      onMessage: (message) => this.#receive(message),
      onClosed: (end) => this.#lose(end.message),
    });
    this.#bundles = new BundleSender(this.peer, (digest) => this.#requestOf(digest));
  }

  host(remote: RemoteHello): ConnectedHost {
    const { instance, maxAttempts, capabilities, leaseMs, endedInstances, cores } = remote;
    return {
      ...{ instance, maxAttempts, capabilities, leaseMs, endedInstances, cores },
      isShared: this.#options.isShared ?? false,
      presence: this.#presence,
      counters: this.peer.counters,
      closed: this.peer.closed.then((end) => ({ reason: end.message })),
      run: (request, listener) => this.#run(request, listener),
      attach: (request, listener) => this.#attach(request, listener),
      close: () => this.#close(),
    };
  }

  #run(request: AttemptRequest, listener: AttemptListener): Attempt {
    const { entry, attempt } = this.#makeEntry(request.token, request.epoch, listener, request);
    if (this.#entries.has(request.token)) throw new Error(`the token of step ${request.stepId} is in use`);
    if (!this.peer.isOpen) {
      this.#end(entry, lost('the sandbox host is not connected', 0, false));
      return attempt;
    }
    this.#entries.set(request.token, entry);
    this.peer.sendWhenRoom(
      () => (entry.phase === 'waiting' ? { case: 'invoke', value: invokeOf(entry.token, request) } : undefined),
      (sent) => this.#invoked(entry, request, sent),
    );
    return attempt;
  }

  #invoked(entry: Entry, { stepId }: AttemptRequest, sent: LaterResult): void {
    if (sent === 'sent') {
      entry.phase = 'running';
      entry.isUntold = false;
    } else if (sent === 'too-large') {
      this.#end(entry, failedOutcome('INPUT_INVALID', `the inputs of step ${stepId} are too large for its sandbox`));
    }
    // What was lost with the connection is told by `#lose`.
  }

  #attach(
    request: Pick<AttemptRequest, 'token' | 'flowId' | 'runId' | 'epoch'>,
    listener: AttemptListener,
  ): Promise<AttachResult> {
    if (this.#entries.has(request.token) || this.#attaching.has(request.token)) {
      throw new Error(`run ${request.runId} attaches to an attempt of this connection`);
    }
    const { entry, attempt } = this.#makeEntry(request.token, request.epoch, listener);
    return new Promise((resolve) => {
      const { flowId, runId, epoch } = request;
      this.#attaching.set(request.token, { entry, attempt, resolve });
      const sent = this.peer.send({
        case: 'attach',
        value: { token: entry.token, flowId, runId, epoch: BigInt(epoch) },
      });
      if (sent === 'closed') {
        this.#attaching.delete(request.token);
        resolve({ state: 'lost' });
      }
    });
  }

  #makeEntry(token: string, epoch: number, listener: AttemptListener, request?: AttemptRequest) {
    const outcome = Promise.withResolvers<AttemptOutcome>();
    const entry: Entry = {
      token: Buffer.from(token, 'hex'),
      listener,
      epoch,
      ...(request === undefined ? {} : { request }),
      settle: outcome.resolve,
      phase: request === undefined ? 'running' : 'waiting',
      isUntold: request !== undefined,
      hasStarted: false,
      lifeEndsAtMs: undefined,
    };
    const attempt: Attempt = {
      outcome: outcome.promise,
      cancel: ({ graceMs, reason }) => {
        // A Cancel would pass the Invoke that waits, and come to nothing.
        if (entry.phase === 'waiting') this.#end(entry, { status: 'CANCELLED', message: reason, receipt: null });
        if (entry.phase !== 'running') return;
        this.peer.send({ case: 'cancel', value: { token: entry.token, epoch: BigInt(epoch), graceMs, reason } });
      },
      pause: () => this.#advise(entry, 'pause'),
      resume: () => this.#advise(entry, 'resume'),
      acknowledge: () => {
        if (entry.phase !== 'ended' || this.#entries.get(token) !== entry) return;
        this.#entries.delete(token);
        if (!entry.isUntold) this.peer.send({ case: 'resultAck', value: { token: entry.token } });
      },
      leave: () => this.#leave(token, entry),
    };
    return { entry, attempt };
  }

  /** What waits to be sent is never sent; a host that cannot be told is told by the end of the connection. */
  #leave(token: string, entry: Entry): void {
    if (this.#entries.get(token) !== entry) return;
    this.#entries.delete(token);
    const isKnown = entry.phase !== 'waiting';
    entry.phase = 'ended';
    if (isKnown && this.#canBeLeft) this.peer.send({ case: 'leave', value: { token: entry.token } });
  }

  #advise(entry: Entry, advice: 'pause' | 'resume'): void {
    if (entry.phase !== 'running') return;
    const value = { token: entry.token };
    this.peer.send(advice === 'pause' ? { case: 'pause', value } : { case: 'resume', value });
  }

  #receive(message: PeerMessage) {
    switch (message.case) {
      case 'needBundle':
        return this.#needBundle(message.value.digest);
      case 'attachReply':
        return this.#takeAttachReply(message.value);
      case 'started':
        return this.#started(this.#find(message.value.token), message.value.wallMs);
      case 'log':
        return this.#find(message.value.token)?.listener.onLog?.(readLog(message.value));
      case 'progress': {
        const { token, fraction, message: text } = message.value;
        return this.#find(token)?.listener.onProgress?.({ fraction, message: text });
      }
      case 'result': {
        const entry = this.#find(message.value.token);
        if (entry !== undefined) this.#end(entry, readResult(message.value));
        return;
      }
      case 'hostCall':
        return this.#answerCall(message.value);
      case 'draining':
        return this.#presence.drains();
      default:
        // The peer lets nothing else through to a caller.
        return this.peer.fail(`${message.case} is not for a caller`);
    }
  }

  #started(entry: Entry | undefined, wallMs: number): void {
    if (entry !== undefined && noteStarted(entry, wallMs)) entry.listener.onStarted?.();
  }

  #answerCall({ token, callId, method, payloadJson }: HostCall) {
    const entry = this.#find(token);
    if (entry === undefined) return;
    if (entry.request?.debug !== true || entry.listener.onHostCall === undefined) {
      return this.peer.fail('a host call reached the caller of a host');
    }
    const call = { method, payloadJson: Buffer.from(payloadJson).toString('utf8') };
    // Held against the window until it is answered.
    return entry.listener.onHostCall(call).then((answer) => {
      if (entry.phase !== 'running') return;
      const value = { token: entry.token, callId, ok: true, payloadJson: Buffer.from(answer) };
      this.peer.send({ case: 'hostReply', value });
    });
  }

  /** A running attempt, or undefined after counting the frame as dropped. */
  #find(token: Uint8Array): Entry | undefined {
    const entry = this.#entries.get(hexOf(token));
    if (entry?.phase === 'running') return entry;
    this.peer.countDropped(entry === undefined ? 'foreign' : 'late');
    return undefined;
  }

  #takeAttachReply(reply: AttachReply) {
    const token = hexOf(reply.token);
    const pending = this.#attaching.get(token);
    if (pending === undefined) return this.peer.countDropped('foreign');
    this.#attaching.delete(token);
    switch (reply.state) {
      case AttachReply_State.RUNNING:
      case AttachReply_State.ENDED:
        this.#entries.set(token, pending.entry);
        pending.resolve({
          state: reply.state === AttachReply_State.ENDED ? 'ended' : 'running',
          attempt: pending.attempt,
        });
        return;
      case AttachReply_State.REFUSED:
        return pending.resolve({ state: 'refused' });
      default:
        return pending.resolve({ state: 'unknown' });
    }
  }

  #needBundle(digest: string) {
    const answer = this.#bundles.ask(digest);
    if (answer !== 'wanted') this.peer.countDropped(answer);
  }

  #requestOf(digest: string): AttemptRequest | undefined {
    for (const { request } of this.#entries.values()) if (request?.digest === digest) return request;
    return undefined;
  }

  #end(entry: Entry, outcome: AttemptOutcome): void {
    if (entry.phase === 'ended') return;
    entry.phase = 'ended';
    entry.settle(outcome);
  }

  /**
   * LOST is told when nothing can run any more, when the process behind the connection is gone too (G5); of a host that is
   * not ours, with how long it may.
   */
  #lose(reason: string): void {
    this.#presence.close();
    const isOurDoing = this.#closing !== undefined;
    const all = [...this.#entries.values()];
    this.#entries.clear();
    for (const pending of this.#attaching.values()) pending.resolve({ state: 'lost' });
    this.#attaching.clear();
    const message = `the connection to the sandbox host ended: ${reason}`;
    const isShared = this.#options.isShared ?? false;
    const tell = () => {
      for (const entry of all) {
        this.#end(entry, isShared ? lost(message, lifeLeftMs(entry), false) : lost(message, 0, !isOurDoing));
      }
    };
    void this.#close().then(tell, tell);
  }

  #close(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    const closing = Promise.withResolvers<void>();
    this.#closing = closing.promise; // before the peer closes: that comes back here
    this.peer.close('closed by its owner');
    closing.resolve(this.#options.onClose?.());
    return closing.promise;
  }
}

function lost(message: string, aliveForMs: number, hostEnded: boolean): AttemptOutcome {
  return { status: 'LOST', message, aliveForMs, hostEnded };
}
