/**
 * What a sandbox host sends about an attempt, as its caller sees it: results and log lines of the wire into the types of
 * attempt.ts. Bounded and checked; what cannot be read becomes a failure or is left out, never an exception. Pure.
 */
import type { AttemptOutcome, LogLine } from './attempt.ts';
import { type ErrorCode, isErrorCode } from './errors.ts';
import { isJsonObject, parseJson } from './json.ts';
import { type Receipt, receiptSchema } from './receipt.ts';
import { type Log, type Result, Status } from './sandbox_pb.js';

/** A line's fields are shown to people; a host cuts far below this. */
const MAX_FIELDS_BYTES = 64 * 1024;

export function readResult(result: Result): AttemptOutcome {
  const receipt = readReceipt(result.receiptJson);
  const { message, stack, retryAfterMs } = result;
  switch (result.status) {
    case Status.COMPLETED: {
      const outputsJson = Buffer.from(result.outputsJson).toString('utf8');
      const parsed = parseJson(outputsJson);
      if (parsed.ok && isJsonObject(parsed.value)) return { status: 'COMPLETED', outputsJson, receipt };
      const problem = parsed.ok ? 'they are not one JSON object' : parsed.problem;
      return failedOutcome('OUTPUT_INVALID', `the outputs cannot be read: ${problem}`, receipt);
    }
    case Status.FAILED: {
      const code = isErrorCode(result.code) ? result.code : 'PROTOCOL_ERROR';
      return { status: 'FAILED', code, message, receipt, stack, retryable: !result.notRetryable, retryAfterMs };
    }
    case Status.CANCELLED:
      return { status: 'CANCELLED', message, receipt };
    default:
      return failedOutcome('PROTOCOL_ERROR', 'the sandbox host sent a result without a status', receipt);
  }
}

export function failedOutcome(code: ErrorCode, message: string, receipt: Receipt | null = null): AttemptOutcome {
  return { status: 'FAILED', code, message, receipt, stack: '', retryable: true, retryAfterMs: 0 };
}

function readReceipt(bytes: Uint8Array): Receipt | null {
  if (bytes.length === 0) return null;
  const parsed = parseJson(Buffer.from(bytes).toString('utf8'));
  const checked = receiptSchema.safeParse(parsed.ok ? parsed.value : undefined);
  return checked.success ? checked.data : null;
}

export function readLog(log: Log): LogLine {
  const level = log.level === 'debug' || log.level === 'warn' || log.level === 'error' ? log.level : 'info';
  const line = { timeMs: Number(log.timeMs), level, message: log.message } as const;
  if (log.fieldsJson.length === 0 || log.fieldsJson.length > MAX_FIELDS_BYTES) return line;
  const parsed = parseJson(Buffer.from(log.fieldsJson).toString('utf8'));
  return parsed.ok && isJsonObject(parsed.value) ? { ...line, fields: parsed.value } : line;
}
