import { describe, expect, it, vi } from 'vitest';
import type { LaterResult } from '../../../../proto/peer.ts';
import type { PeerMessageInit } from '../../../../proto/peer-rules.ts';
import { keptCall, putBundle, StepLine } from '../../../../sandbox/steps/step-line.ts';

const TOKEN = Buffer.alloc(16, 1);
const cancel = { case: 'cancel', value: { token: TOKEN } } as const;

/** A sandbox that has room when the test says so. */
function makePeer() {
  const sent: string[] = [];
  const waiting: { make: () => PeerMessageInit | undefined; onDone?: ((how: LaterResult) => void) | undefined }[] = [];
  return {
    sent,
    waiting,
    send: (message: PeerMessageInit) => {
      sent.push(message.case);
      return 'sent' as const;
    },
    sendWhenRoom: (make: () => PeerMessageInit | undefined, onDone?: (how: LaterResult) => void) => {
      waiting.push({ make, onDone });
    },
    read: (how?: LaterResult) => {
      const next = waiting.shift();
      const message = next?.make();
      if (message !== undefined && how === undefined) sent.push(message.case);
      next?.onDone?.(how ?? (message === undefined ? 'nothing' : 'sent'));
    },
  };
}

describe('what a host says about a step', () => {
  it('leaves after its Invoke, however long that waits', () => {
    const peer = makePeer();
    const line = new StepLine(peer, () => true);
    line.invoke({ token: TOKEN }, () => {});
    line.tell(cancel);
    expect(peer.sent).toEqual([]);
    peer.read();
    line.tell(cancel);
    expect(peer.sent).toEqual(['invoke', 'cancel', 'cancel']);
  });

  it('is nothing when the step has ended before', () => {
    const peer = makePeer();
    const line = new StepLine(peer, () => false);
    const onSent = vi.fn();
    line.invoke({ token: TOKEN }, () => {});
    line.tell(cancel);
    line.answer({ token: TOKEN, callId: 1 }, { ok: true, onSent });
    peer.read();
    peer.read();
    expect(peer.sent).toEqual([]);
    expect(onSent).toHaveBeenCalledOnce();
  });

  it('tells that an answer has left when it has, so that the next may be fetched', () => {
    const peer = makePeer();
    const onSent = vi.fn();
    new StepLine(peer, () => true).answer({ token: TOKEN, callId: 1 }, { ok: true, onSent });
    expect(onSent).not.toHaveBeenCalled();
    peer.read();
    expect(onSent).toHaveBeenCalledOnce();
  });

  it('is a refusal where an answer does not fit, and the end of a step whose inputs do not', () => {
    const peer = makePeer();
    const line = new StepLine(peer, () => true);
    const onTooLarge = vi.fn();
    line.invoke({ token: TOKEN }, onTooLarge);
    line.answer({ token: TOKEN, callId: 1 }, { ok: true });
    peer.read('too-large');
    peer.read('too-large');
    expect(onTooLarge).toHaveBeenCalledOnce();
    expect(peer.sent).toEqual(['hostReply']);
  });

  it('has its bundle before it, and tells when the last piece has left', () => {
    const peer = makePeer();
    const onDone = vi.fn();
    putBundle(peer, [{ digest: 'a' }, { digest: 'a' }], onDone);
    peer.read();
    expect(onDone).not.toHaveBeenCalled();
    peer.read();
    expect(onDone).toHaveBeenCalledOnce();
  });
});

describe('a host call that is kept', () => {
  const call = (payloadJson: Uint8Array) =>
    ({ $typeName: 'flowops.sandbox.v1.HostCall', token: TOKEN, callId: 1, method: 'fetch', payloadJson }) as const;

  it('does not keep the buffer alive that it came in', () => {
    const buffer = Buffer.alloc(65_536, 'x');
    const kept = keptCall(call(buffer.subarray(10, 20))).payloadJson;
    expect(kept.buffer.byteLength).toBe(10);
    expect(Buffer.from(kept).toString()).toBe('xxxxxxxxxx');
  });

  it('is not copied where it is most of it', () => {
    const buffer = new Uint8Array(65_536);
    expect(keptCall(call(buffer.subarray(100))).payloadJson.buffer).toBe(buffer.buffer);
  });
});
