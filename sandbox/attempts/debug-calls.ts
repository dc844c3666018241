/** Host calls of a debugged attempt on their way to the CLI that debugs it, and the answers back. Bounded. */
import type { HostReply } from '@flowops/proto/sandbox_pb.js';
import type { HostCallAnswer, TierHostCall } from '../tier.ts';

/** A worker waits for the answer of each message, but for a burst. */
const MAX_OPEN = 1_024;

export class DebugCalls {
  readonly #open = new Map<number, (answer: HostCallAnswer) => void>();

  /** @param send hands it to the CLI; false when nobody is there. */
  forward(call: TierHostCall, send: (call: TierHostCall) => boolean): Promise<HostCallAnswer> {
    if (this.#open.has(call.callId) || this.#open.size >= MAX_OPEN || !send(call)) {
      return Promise.resolve({ ok: false, code: 'PROTOCOL_ERROR', message: 'no debugger can take it' });
    }
    return new Promise((resolve) => this.#open.set(call.callId, resolve));
  }

  /** False when no such call waits. */
  reply({ callId, ok, payloadJson, message }: HostReply): boolean {
    const resolve = this.#open.get(callId);
    if (resolve === undefined) return false;
    this.#open.delete(callId);
    resolve(ok ? { ok, payloadJson: Uint8Array.from(payloadJson) } : { ok, code: 'PROTOCOL_ERROR', message });
    return true;
  }

  /** The attempt has ended. Idempotent. */
  close(): void {
    for (const resolve of this.#open.values()) resolve({ ok: false, code: 'CANCELLED', message: 'the step has ended' });
    this.#open.clear();
  }
}
