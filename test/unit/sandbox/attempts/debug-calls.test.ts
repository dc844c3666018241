import type { HostReply } from '@flowops/proto/sandbox_pb.js';
import { DebugCalls } from '@flowops/sandbox/attempts/debug-calls.ts';
import { expect, test } from 'vitest';

const call = (callId: number) => ({ callId, method: 'debug.send', payloadJson: Buffer.from('{}') });
const reply = (callId: number): HostReply => ({
  $typeName: 'flowops.sandbox.v1.HostReply',
  token: new Uint8Array(16),
  callId,
  ok: true,
  payloadJson: Buffer.from('{"a":1}'),
  code: '',
  message: '',
});

test('a call waits for the answer of the CLI, which is taken once', async () => {
  const calls = new DebugCalls();
  const answer = calls.forward(call(1), () => true);
  expect(calls.reply(reply(2))).toBe(false);
  expect(calls.reply(reply(1))).toBe(true);
  expect(calls.reply(reply(1))).toBe(false);
  expect(await answer).toMatchObject({ ok: true, payloadJson: Uint8Array.from(Buffer.from('{"a":1}')) });
});

test('without anybody to answer, or with an id in use, a call fails at once', async () => {
  const calls = new DebugCalls();
  expect(await calls.forward(call(1), () => false)).toMatchObject({ ok: false });
  void calls.forward(call(2), () => true);
  expect(await calls.forward(call(2), () => true)).toMatchObject({ ok: false });
});

test('open calls are bounded, and end with their attempt', async () => {
  const calls = new DebugCalls();
  const open = Array.from({ length: 1_024 }, (_, id) => calls.forward(call(id), () => true));
  expect(await calls.forward(call(5_000), () => true)).toMatchObject({ ok: false });
  calls.close();
  calls.close();
  expect(await Promise.all(open)).toEqual(open.map(() => expect.objectContaining({ ok: false, code: 'CANCELLED' })));
});
