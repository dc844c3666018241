/** What a test gives to a task and gets back from it: the types of `@flowops/sdk/testing`. */
import type { JsonValue } from '../metadata.ts';
import type { TestFetch } from './test-fetch.ts';

/**
 * A line that the task logged, by its logger or by console.
 *
 * @example
 * expect(result.logs).toContainEqual({ level: 'info', message: 'greeting', fields: { name: 'Ada' } });
 */
export interface TestLogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

/**
 * What the task told with `context.progress`.
 *
 * @example
 * expect(result.progress.at(-1)).toEqual({ fraction: 1, message: 'done' });
 */
export interface TestProgress {
  readonly fraction: number;
  readonly message: string;
}

/**
 * What a task is given in a test.
 *
 * @example
 * await runTask(Task, { inputs: { city: 'Bern' }, secrets: { API_TOKEN: 'test' }, fetch: () => Response.json([]) });
 */
export interface RunTaskOptions<Inputs = Readonly<Record<string, unknown>>> {
  /** Values of any JSON type; text is read by the declared type, as from a flow: `'3'` is the integer 3. */
  readonly inputs?: Inputs;
  /** By name. The task gets those that its permissions name, by `context.secret(name)`. */
  readonly secrets?: Readonly<Record<string, string>>;
  /**
   * The network: it is given each request to a place that the permissions name, and answers with a Response. Without
   * one nothing answers. `globalThis.fetch` is the real network.
   */
  readonly fetch?: TestFetch;
  /** Its abort is the stop of the run: `context.signal` aborts and `stop()` is called. */
  readonly signal?: AbortSignal;
  /** Default "test". */
  readonly idempotencyKey?: string;
  /** Default 1. */
  readonly attempt?: number;
}

/**
 * How a task ended.
 *
 * @example
 * expect(await runTask(Task)).toMatchObject({ status: 'FAILED', code: 'INPUT_INVALID' });
 */
export interface TaskResult<Outputs = Readonly<Record<string, JsonValue>>> {
  readonly status: 'COMPLETED' | 'FAILED' | 'CANCELLED';
  /** What the step would have: PLUGIN_ERROR, PLUGIN_FATAL, POLICY_DENIED, INPUT_INVALID …; null when it completed. */
  readonly code: string | null;
  readonly error: string | null;
  /** Frames of what was thrown, without those of the SDK and of Node; "" when nothing was. */
  readonly stack: string;
  /** As JSON holds them; none when it did not complete. */
  readonly outputs: Partial<Outputs>;
  readonly logs: readonly TestLogLine[];
  readonly progress: readonly TestProgress[];
}
