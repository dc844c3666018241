/**
 * What a worker says about a job's end, turned into an outcome. A worker's word is bounded and checked here: it can
 * name only ends that are the plugin's own, never a fault of ours that would give a free rerun.
 */
import { type ErrorCode, isErrorCode } from '@flowops/proto/errors.ts';
import { isJsonObject, parseJson } from '@flowops/proto/json.ts';
import { type WorkerUsage, workerUsageSchema } from '@flowops/proto/receipt.ts';
import { type Result, Status } from '@flowops/proto/sandbox_pb.js';

const MAX_MESSAGE_LENGTH = 4096;
const MAX_STACK_LENGTH = 8192;
/** A day: longer than any retry is put off, and safe for a timer. */
const MAX_RETRY_AFTER_MS = 24 * 3600 * 1000;

const WORKER_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'PLUGIN_ERROR',
  'PLUGIN_FATAL',
  'PLUGIN_INVALID',
  'INPUT_INVALID',
  'OUTPUT_INVALID',
  'LIMIT_WALL',
  'LIMIT_CPU',
  'LIMIT_MEMORY',
  'LIMIT_OUTPUT',
  'LIMIT_LOG',
  'LIMIT_HOST_CALLS',
  'POLICY_DENIED',
  'SANDBOX_CRASHED',
]);

export type TierOutcome =
  | { readonly status: 'COMPLETED'; readonly outputsJson: Uint8Array }
  | {
      readonly status: 'FAILED';
      readonly code: ErrorCode;
      readonly message: string;
      readonly stack: string;
      readonly isRetryable: boolean;
      readonly retryAfterMs: number;
    }
  | { readonly status: 'CANCELLED'; readonly message: string };

/** An end that needs no more than a code and a sentence. */
export function failedOutcome(code: ErrorCode, message: string): TierOutcome {
  return { status: 'FAILED', code, message, stack: '', isRetryable: true, retryAfterMs: 0 };
}

export function readSandboxResult(result: Result, outputBytesLimit: number): TierOutcome {
  switch (result.status) {
    case Status.COMPLETED:
      return readOutputs(result.outputsJson, outputBytesLimit);
    case Status.CANCELLED:
      return { status: 'CANCELLED', message: result.message.slice(0, MAX_MESSAGE_LENGTH) };
    case Status.FAILED: {
      const isKnown = isErrorCode(result.code) && WORKER_CODES.has(result.code);
      return {
        status: 'FAILED',
        code: isKnown && isErrorCode(result.code) ? result.code : 'SANDBOX_CRASHED',
        message: result.message.slice(0, MAX_MESSAGE_LENGTH),
        stack: result.stack.slice(0, MAX_STACK_LENGTH),
        isRetryable: !result.notRetryable,
        retryAfterMs: Math.min(result.retryAfterMs, MAX_RETRY_AFTER_MS),
      };
    }
    default:
      return failedOutcome('SANDBOX_CRASHED', 'the sandbox told no result');
  }
}

function readOutputs(outputsJson: Uint8Array, limitBytes: number): TierOutcome {
  if (outputsJson.length > limitBytes) {
    const message = `the outputs have ${outputsJson.length} bytes; at most ${limitBytes} are allowed`;
    return failedOutcome('LIMIT_OUTPUT', message);
  }
  const parsed = parseJson(Buffer.from(outputsJson).toString('utf8'));
  if (!parsed.ok)
    return failedOutcome('OUTPUT_INVALID', `the outputs are not JSON that can be kept: ${parsed.problem}`);
  if (!isJsonObject(parsed.value)) return failedOutcome('OUTPUT_INVALID', 'the outputs are not one JSON object');
  return { status: 'COMPLETED', outputsJson };
}

export function readSandboxUsage(bytes: Uint8Array): WorkerUsage | undefined {
  if (bytes.length === 0 || bytes.length > MAX_MESSAGE_LENGTH) return undefined;
  const parsed = parseJson(Buffer.from(bytes).toString('utf8'));
  const checked = workerUsageSchema.safeParse(parsed.ok ? parsed.value : undefined);
  return checked.success ? checked.data : undefined;
}
