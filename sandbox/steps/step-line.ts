/**
 * What a host says to a sandbox about one step. Nothing of it becomes bytes before the sandbox has room for it, so that
 * one that does not read costs no more than the step's own bundle, inputs and answers, which are there anyway.
 *
 * Invariant: what is told about a step leaves after its Invoke, though control frames may pass an Invoke that waits.
 */
import type { Peer } from '@flowops/proto/peer.ts';
import type { PeerMessageInit } from '@flowops/proto/peer-rules.ts';
import type { HostCall } from '@flowops/proto/sandbox_pb.js';
import type { HostCallAnswer, TierHostCall } from '../tier.ts';
import { hostReply } from './sandbox-messages.ts';

type Line = Pick<Peer, 'send' | 'sendWhenRoom'>;
type ValueOf<Name extends PeerMessageInit['case']> = Extract<PeerMessageInit, { case: Name }>['value'];

export class StepLine {
  readonly #peer: Line;
  readonly #isLive: () => boolean;
  #isInvoked = false;
  /** Told before its Invoke has left: cancel, pause, resume. */
  readonly #early: PeerMessageInit[] = [];

  /** @param isLive whether anybody still waits for the step. */
  constructor(peer: Line, isLive: () => boolean) {
    this.#peer = peer;
    this.#isLive = isLive;
  }

  invoke(value: ValueOf<'invoke'>, onTooLarge: () => void): void {
    this.#peer.sendWhenRoom(
      () => (this.#isLive() ? { case: 'invoke', value } : undefined),
      (sent) => {
        if (sent === 'too-large') return onTooLarge();
        if (sent !== 'sent') return;
        this.#isInvoked = true;
        for (const message of this.#early.splice(0)) this.#peer.send(message);
      },
    );
  }

  tell(message: PeerMessageInit): void {
    if (this.#isInvoked) this.#peer.send(message);
    else this.#early.push(message);
  }

  answer(call: Pick<HostCall, 'token' | 'callId'>, answer: HostCallAnswer): void {
    this.#peer.sendWhenRoom(
      () => (this.#isLive() ? { case: 'hostReply', value: hostReply(call, answer) } : undefined),
      (sent) => {
        answer.onSent?.();
        if (sent !== 'too-large') return;
        const message = 'the answer does not fit into a frame of the sandbox protocol';
        const refusal = hostReply(call, { ok: false, code: 'LIMIT_OUTPUT', message });
        this.#peer.send({ case: 'hostReply', value: refusal });
      },
    );
  }
}

/** Queues the pieces of a bundle; `onDone` comes when the last one leaves, or when the connection ends first. */
export function putBundle(peer: Line, pieces: Iterable<ValueOf<'putBundle'>>, onDone?: () => void): void {
  const all = [...pieces];
  let left = all.length;
  const settle = (): void => {
    if (--left === 0) onDone?.();
  };
  for (const value of all) peer.sendWhenRoom(() => ({ case: 'putBundle', value }), settle);
}

/** A call that may wait for long: what came is a view of a larger buffer, which would stay alive with it. */
export function keptCall({ callId, method, payloadJson }: HostCall): TierHostCall {
  const isMostOfIt = payloadJson.length * 2 >= payloadJson.buffer.byteLength;
  return { callId, method, payloadJson: isMostOfIt ? payloadJson : Uint8Array.from(payloadJson) };
}
