/**
 * What a host says to a sandbox of either tier, as messages: a job as Invoke, its bundle in pieces, an answer to a host
 * call. Pure. What only an isolate's worker is told (freshness, debugger, code caches) is added by worker-process.ts.
 */

import { BUNDLE_CHUNK_BYTES } from '@flowops/proto/bundle-sender.ts';
import type { PeerMessageInit } from '@flowops/proto/peer-rules.ts';
import { type HostCall, type Limits, Purpose } from '@flowops/proto/sandbox_pb.js';
import type { StoredBundle } from '../bundles/bundle-store.ts';
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

export function hostReply(call: Pick<HostCall, 'token' | 'callId'>, answer: HostCallAnswer): MessageOf<'hostReply'> {
  return {
    token: call.token,
    callId: call.callId,
    ok: answer.ok,
    payloadJson: answer.payloadJson ?? new Uint8Array(0),
    code: answer.code ?? '',
    message: answer.message ?? '',
  };
}

/** The limits in force. */
function limitsMessage(limits: AttemptJob['limits']): Omit<Limits, '$typeName' | '$unknown'> {
  return {
    memoryMb: limits.memoryMb,
    cpuMs: limits.cpuMs,
    wallMs: limits.wallMs,
    outputBytes: limits.outputBytes,
    logBytes: limits.logBytes,
    hostCalls: limits.hostCalls,
  };
}
