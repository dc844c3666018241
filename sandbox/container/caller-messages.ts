/** What a host says to a runner, as messages: a job as Invoke, its bundle in pieces, an answer to a host call. Pure. */
import type { PeerMessageInit } from '@flowops/proto/peer.ts';
import { type HostCall, Purpose } from '@flowops/proto/sandbox_pb.js';
import { BUNDLE_CHUNK_BYTES } from '@flowops/proto/sandbox-client.ts';
import type { StoredBundle } from '../bundles/bundle-store.ts';
import { limitsMessage } from '../isolate/worker-attempt.ts';
import type { AttemptJob, HostCallAnswer } from '../tier.ts';

type MessageOf<Name extends PeerMessageInit['case']> = Extract<PeerMessageInit, { case: Name }>['value'];

export function invokeMessage(token: Uint8Array, job: AttemptJob): MessageOf<'invoke'> {
  return {
    token,
    purpose: job.purpose === 'inspect' ? Purpose.INSPECT : Purpose.RUN,
    flowId: job.flowId,
    runId: job.runId,
    stepId: job.stepId,
    attempt: job.attempt,
    pluginId: job.pluginId,
    pluginVersion: job.pluginVersion,
    digest: job.bundle.digest,
    inputsJson: job.inputsJson,
    idempotencyKey: job.idempotencyKey,
    limits: limitsMessage(job.limits),
    allowWasm: job.allowWasm,
  };
}

export function* bundlePieces({ bytes, digest }: StoredBundle): Generator<MessageOf<'putBundle'>> {
  for (let offset = 0; offset < bytes.length; offset += BUNDLE_CHUNK_BYTES) {
    const data = bytes.subarray(offset, offset + BUNDLE_CHUNK_BYTES);
    yield { digest, totalBytes: BigInt(bytes.length), offset: BigInt(offset), data };
  }
}

export function hostReply(call: HostCall, answer: HostCallAnswer): MessageOf<'hostReply'> {
  return {
    token: call.token,
    callId: call.callId,
    ok: answer.ok,
    payloadJson: answer.payloadJson ?? new Uint8Array(0),
    code: answer.code ?? '',
    message: answer.message ?? '',
  };
}
