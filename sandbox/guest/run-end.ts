/** How one attempt ended, as the program sees it that ran it. */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { WorkerUsage } from '@flowops/proto/receipt.ts';

export type RunEnd =
  | { readonly status: 'COMPLETED'; readonly outputsJson: string }
  | {
      readonly status: 'FAILED';
      readonly code: ErrorCode;
      readonly message: string;
      /** As V8 wrote it; whoever sends it on cuts out the plugin's own frames. */
      readonly stack: string;
      readonly isRetryable: boolean;
      readonly retryAfterMs: number;
    }
  | { readonly status: 'CANCELLED'; readonly message: string };

export interface RunOutcome {
  readonly end: RunEnd;
  readonly usage: WorkerUsage;
  readonly droppedLogLines: number;
  /** False: some code of it may still run; only the end of this process will show. */
  readonly isProven: boolean;
}

export function failure(code: ErrorCode, message: string): Extract<RunEnd, { status: 'FAILED' }> {
  return { status: 'FAILED', code, message, stack: '', isRetryable: true, retryAfterMs: 0 };
}
