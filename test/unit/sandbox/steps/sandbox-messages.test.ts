import { describe, expect, it } from 'vitest';
import { BUNDLE_CHUNK_BYTES } from '../../../../proto/bundle-sender.ts';
import { Purpose } from '../../../../proto/sandbox_pb.js';
import { bundlePieces, hostReply, invokeMessage } from '../../../../sandbox/steps/sandbox-messages.ts';
import type { AttemptJob } from '../../../../sandbox/tier.ts';

const MANIFEST = {
  name: 'p',
  version: '1.0.0',
  description: '',
  permissions: { net: [], secrets: [] },
  inputs: {},
  outputs: {},
};
const TOKEN = Buffer.alloc(16, 7);

function jobWith(bytes: Uint8Array, purpose: AttemptJob['purpose'] = 'run'): AttemptJob {
  return {
    purpose,
    flowId: 'f',
    runId: 'r',
    stepId: 's',
    attempt: 2,
    pluginId: 'p',
    pluginVersion: '1.0.0',
    idempotencyKey: 'k',
    inputsJson: Buffer.from('{}'),
    bundle: { digest: 'd', bytes, manifest: MANIFEST },
    limits: { memoryMb: 64, cpuMs: 1000, wallMs: 2000, outputBytes: 3, logBytes: 4, hostCalls: 5 },
    allowWasm: true,
  };
}

describe('what a host says to a sandbox', () => {
  it('cuts a bundle into pieces that join to the same bytes', () => {
    const bytes = Buffer.alloc(2 * BUNDLE_CHUNK_BYTES + 5, 'abc');
    const pieces = [...bundlePieces(jobWith(bytes).bundle)];
    expect(pieces.map(({ offset }) => Number(offset))).toEqual([0, BUNDLE_CHUNK_BYTES, 2 * BUNDLE_CHUNK_BYTES]);
    expect(pieces.every(({ totalBytes, digest }) => totalBytes === BigInt(bytes.length) && digest === 'd')).toBe(true);
    expect(bytes.equals(Buffer.concat(pieces.map(({ data }) => data ?? Buffer.alloc(0))))).toBe(true);
  });

  it('names the limits in force and whether a plugin is run or only looked at', () => {
    const { limits, purpose, token, allowWasm } = invokeMessage(TOKEN, jobWith(Buffer.alloc(1)));
    expect(limits).toEqual({ memoryMb: 64, cpuMs: 1000, wallMs: 2000, outputBytes: 3, logBytes: 4, hostCalls: 5 });
    expect({ purpose, token, allowWasm }).toEqual({ purpose: Purpose.RUN, token: TOKEN, allowWasm: true });
    expect(invokeMessage(TOKEN, jobWith(Buffer.alloc(1), 'inspect')).purpose).toBe(Purpose.INSPECT);
  });

  it('answers a host call under the id that the sandbox gave it', () => {
    const call = { token: TOKEN, callId: 9 };
    const answer = { ok: false, code: 'POLICY_DENIED', message: 'no' } as const;
    expect(hostReply(call, answer)).toEqual({
      token: TOKEN,
      callId: 9,
      ok: false,
      payloadJson: new Uint8Array(0),
      code: 'POLICY_DENIED',
      message: 'no',
    });
  });
});
