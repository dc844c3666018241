/**
 * Takes the secrets that an attempt was given out of all that leaves it for people and stores: log lines, progress,
 * outputs, error messages, stacks. Covers what host-calls/secret-forms.ts finds, and guards against accidents only.
 * What people read is changed in place; that outputs were changed is told, because a later step may miss them.
 */
import type { AttemptHostCalls } from '../host-calls/host-calls.ts';
import type { AdmittedLine } from './log-cap.ts';
import type { TierOutcome } from './sandbox-result.ts';

type Redactor = Pick<AttemptHostCalls, 'redact' | 'redactJson'>;

export function redactLine(line: AdmittedLine, redactor: Redactor): AdmittedLine {
  const message = redactor.redact(line.message);
  if (line.fieldsJson.length === 0) return { ...line, message };
  return { ...line, message, fieldsJson: redactBytes(line.fieldsJson, redactor).bytes };
}

export interface RedactedOutcome {
  readonly outcome: TierOutcome;
  /** Strings of the outputs that held a secret. */
  readonly changedOutputs: number;
}

export function redactOutcome(outcome: TierOutcome, redactor: Redactor): RedactedOutcome {
  switch (outcome.status) {
    case 'COMPLETED': {
      const { bytes, found } = redactBytes(outcome.outputsJson, redactor);
      return { outcome: { ...outcome, outputsJson: bytes }, changedOutputs: found };
    }
    case 'FAILED': {
      const message = redactor.redact(outcome.message);
      return { outcome: { ...outcome, message, stack: redactor.redact(outcome.stack) }, changedOutputs: 0 };
    }
    case 'CANCELLED':
      return { outcome: { ...outcome, message: redactor.redact(outcome.message) }, changedOutputs: 0 };
  }
}

function redactBytes(json: Uint8Array, redactor: Redactor): { bytes: Uint8Array; found: number } {
  const redacted = redactor.redactJson(Buffer.from(json.buffer, json.byteOffset, json.length).toString('utf8'));
  if (redacted.found === 0) return { bytes: json, found: 0 };
  return { bytes: Buffer.from(redacted.json), found: redacted.found };
}
