/** The words of command outcomes (`execution.outcomes`, design 3.2 and 4.3) in one place. */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { CommandOutcomeEvent, Outcome } from '@flowops/proto/statuses.ts';
import type { RunRef } from '../store/run-store.ts';
import type { CommandContext } from './codec.ts';

/** How a command was answered. `code` and `message` are null when ACCEPTED. */
export interface CommandAnswer {
  readonly outcome: Outcome;
  readonly code: ErrorCode | null;
  readonly message: string | null;
}

export const ACCEPTED: CommandAnswer = { outcome: 'ACCEPTED', code: null, message: null };

export function duplicate(message: string): CommandAnswer {
  return { outcome: 'DUPLICATE', code: null, message };
}

export function rejected(code: ErrorCode, message: string): CommandAnswer {
  return { outcome: 'REJECTED', code, message };
}

export interface ToldOutcome {
  readonly command: string;
  readonly run: RunRef;
  readonly answer: Pick<CommandAnswer, 'outcome' | 'message'> & { readonly code: string | null };
  readonly context: CommandContext;
  readonly nowMs: number;
  readonly isQuiescent?: boolean;
}

export function outcomeEvent(told: ToldOutcome): CommandOutcomeEvent {
  const { command, run, answer, context, nowMs } = told;
  return {
    eventType: 'COMMAND_OUTCOME',
    command,
    flowId: run.flowId,
    runId: run.runId,
    outcome: answer.outcome,
    code: answer.code,
    message: answer.message,
    triggeredBy: context.triggeredBy,
    via: context.via,
    reason: context.reason,
    timestamp: new Date(nowMs).toISOString(),
    ...(told.isQuiescent === true ? { quiescent: true as const } : {}),
  };
}
