/**
 * The Result of an attempt that a tier had, with its receipt: what its end is called, what of it counts as a violation, and
 * secrets taken out of what it says.
 */
import type { AttemptHostCalls } from '../host-calls/host-calls.ts';
import type { PluginMemory } from '../ledger/plugin-ledger.ts';
import type { TierEnd } from '../tier.ts';
import type { AdmittedAttempt } from './admission.ts';
import type { AttemptRecord } from './attempt-record.ts';
import { type HostResult, resultOf } from './host-result.ts';
import { outcomeOf } from './own-end.ts';
import { redactOutcome } from './redaction.ts';
import { violationOf } from './violations.ts';

export interface Conclusion {
  readonly record: AttemptRecord;
  readonly admitted: AdmittedAttempt;
  readonly end: TierEnd;
  readonly calls: AttemptHostCalls;
  readonly memory: PluginMemory;
  /** A line of the host's own in the step's log. */
  readonly tell: (message: string) => void;
}

export function conclude({ record, admitted, end, calls, memory, tell }: Conclusion): HostResult {
  const { request, publisher, signatureProblem, subject, onViolation } = admitted;
  const { rule, policyHash, limits, bundle } = request;
  const { ownEnd, isCancelled } = record;
  const outcome = isCancelled || ownEnd === undefined ? end.outcome : outcomeOf(ownEnd, end.outcome);
  const code = violationOf({ ...end, outcome }, admitted);
  if (code !== undefined && onViolation !== undefined) {
    memory.violated(subject, { code, demoteAfter: onViolation.demoteAfter, rule });
  }
  const bytesIn = request.inputsJson.length;
  const signer = { publisher, signatureProblem };
  const facts = { digest: bundle.digest, ...signer, rule, policyHash, limits, bytesIn, calls: calls.figures() };
  const redacted = redactOutcome(outcome, calls);
  const { changedOutputs } = redacted;
  if (changedOutputs > 0) {
    tell(`a secret was taken out of the outputs, in ${changedOutputs} of their texts: it reads *** there`);
  }
  const droppedLogLines = end.figures.droppedLogLines + record.lostLines;
  const figures = { ...end.figures, droppedLogLines };
  return resultOf(record.token, { ...end, outcome: redacted.outcome, figures }, facts);
}
