/** The error with which a task steers its own retries. */
import { TASK_ERROR } from './metadata.ts';

/**
 * What is to become of the attempt that threw.
 *
 * @example
 * const limited: TaskErrorOptions = { retryAfterMs: 30_000 };
 */
export interface TaskErrorOptions {
  /** False: trying again cannot help (code PLUGIN_FATAL). Default true. */
  readonly retryable?: boolean;
  /** Wait at least this long before the next attempt, ms. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/**
 * The error with which a task says whether another try can help. Any other error is retried as the flow says.
 *
 * @example
 * const check = (status: number) => {
 *   if (status === 404) throw new TaskError('no such customer', { retryable: false });
 *   if (status === 429) throw new TaskError('too many requests', { retryAfterMs: 30_000 });
 * };
 */
export class TaskError extends Error {
  override readonly name: string = 'TaskError';
  readonly retryable: boolean;
  readonly retryAfterMs: number;

  constructor(message: string, options: TaskErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.retryable = options.retryable ?? true;
    this.retryAfterMs = options.retryAfterMs ?? 0;
    const steer = { retryable: this.retryable, retryAfterMs: this.retryAfterMs };
    Object.defineProperty(this, TASK_ERROR, { value: steer });
  }
}
