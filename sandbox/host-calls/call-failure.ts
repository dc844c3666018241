/** Why a host call was not answered as asked: an expected outcome, told to the plugin with a code and a sentence. */
import type { ErrorCode } from '@flowops/proto/errors.ts';

export interface CallFailure {
  readonly ok: false;
  readonly code: ErrorCode;
  readonly message: string;
}

/** The policy says no, or the operator has to change something. */
export function deniedCall(message: string): CallFailure {
  return { ok: false, code: 'POLICY_DENIED', message };
}

/** The call is wrong, or the other side failed: the plugin's to handle. */
export function failedCall(message: string): CallFailure {
  return { ok: false, code: 'PLUGIN_ERROR', message };
}

export function exhaustedCall(message: string): CallFailure {
  return { ok: false, code: 'LIMIT_HOST_CALLS', message };
}
