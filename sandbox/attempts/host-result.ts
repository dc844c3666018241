/** The Result a host sends: a tier's outcome with its receipt, or an end that came before any tier (no receipt). */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import { errorInfo } from '@flowops/proto/errors.ts';
import type { EffectiveLimits, Receipt } from '@flowops/proto/receipt.ts';
import { type Result, Status } from '@flowops/proto/sandbox_pb.js';
import type { HostCallFigures } from '../host-calls/host-calls.ts';
import type { TierEnd } from '../tier.ts';

export type HostResult = Omit<Result, '$typeName' | '$unknown'>;

const NOTHING = new Uint8Array(0);

/** What the host itself knows about an attempt that ran. */
export interface ReceiptFacts {
  readonly digest: string;
  readonly publisher: string | undefined;
  readonly signatureProblem: string | undefined;
  readonly rule: string;
  readonly policyHash: string;
  readonly limits: EffectiveLimits;
  readonly bytesIn: number;
  readonly calls: HostCallFigures;
}

export function resultOf(token: Uint8Array, end: TierEnd, facts: ReceiptFacts): HostResult {
  const { outcome, figures } = end;
  const bytesOut = outcome.status === 'COMPLETED' ? outcome.outputsJson.length : 0;
  const receipt: Receipt = {
    ...figures,
    ...facts.calls,
    bundleDigest: facts.digest,
    publisher: facts.publisher ?? null,
    ...(facts.signatureProblem === undefined ? {} : { signatureProblem: facts.signatureProblem }),
    rule: facts.rule,
    policyHash: facts.policyHash,
    limits: facts.limits,
    bytesIn: facts.bytesIn,
    bytesOut,
  };
  const base = {
    ...emptyResult(token),
    receiptJson: Buffer.from(JSON.stringify(receipt)),
    droppedLogLines: figures.droppedLogLines,
  };
  switch (outcome.status) {
    case 'COMPLETED':
      return { ...base, status: Status.COMPLETED, outputsJson: outcome.outputsJson };
    case 'CANCELLED':
      return { ...base, status: Status.CANCELLED, code: 'CANCELLED', message: outcome.message };
    case 'FAILED':
      return {
        ...base,
        status: Status.FAILED,
        code: outcome.code,
        message: outcome.message,
        stack: outcome.stack,
        notRetryable: !outcome.isRetryable || !errorInfo(outcome.code).retryable,
        retryAfterMs: outcome.retryAfterMs,
      };
  }
}

/** For what ended before a tier had it. `isFinal`: no retry can help, whatever the code says in general. */
export function refusal(token: Uint8Array, code: ErrorCode, message: string, isFinal = false): HostResult {
  const notRetryable = isFinal || !errorInfo(code).retryable;
  return { ...emptyResult(token), status: Status.FAILED, code, message, notRetryable };
}

export function cancelledBefore(token: Uint8Array, reason: string): HostResult {
  return { ...emptyResult(token), status: Status.CANCELLED, code: 'CANCELLED', message: reason };
}

function emptyResult(token: Uint8Array): HostResult {
  return {
    token,
    status: Status.STATUS_UNSPECIFIED,
    code: '',
    message: '',
    outputsJson: NOTHING,
    receiptJson: NOTHING,
    stack: '',
    notRetryable: false,
    retryAfterMs: 0,
    droppedLogLines: 0,
  };
}
