/** How one attempt in an isolate ended, as the worker sees it. */
import type { ErrorCode } from '@flowops/proto/errors.ts';

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

export function failure(code: ErrorCode, message: string): Extract<RunEnd, { status: 'FAILED' }> {
  return { status: 'FAILED', code, message, stack: '', isRetryable: true, retryAfterMs: 0 };
}
