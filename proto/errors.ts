/**
 * The one table of error codes. Every failure that leaves a part of ours (a step's result, a command's outcome, a
 * CLI message, an HTTP answer) carries one of these codes; nothing ever matches on message text.
 *
 * `fault` says who has to act, `retryable` whether the same thing may work if tried again unchanged.
 */

export type Fault = 'plugin' | 'limit' | 'policy' | 'infrastructure' | 'request';

export interface ErrorCodeInfo {
  readonly fault: Fault;
  /** Whether a retry of the same work can succeed without anybody changing anything. */
  readonly retryable: boolean;
  /** What it means, one clause, for the docs and for people. */
  readonly meaning: string;
}

export const ERROR_CODES = {
  PLUGIN_ERROR: { fault: 'plugin', retryable: true, meaning: 'the plugin threw or rejected' },
  PLUGIN_FATAL: { fault: 'plugin', retryable: false, meaning: 'the plugin failed and asked not to be retried' },
  PLUGIN_NOT_FOUND: {
    fault: 'request',
    retryable: false,
    meaning: 'no plugin, or no such version of it, is published',
  },
  PLUGIN_INVALID: { fault: 'plugin', retryable: false, meaning: 'the bytes are not a bundle this engine can run' },
  INPUT_INVALID: { fault: 'request', retryable: false, meaning: 'an input does not fit what the plugin declares' },
  OUTPUT_INVALID: { fault: 'plugin', retryable: false, meaning: 'an output is not JSON or not of the declared type' },
  LIMIT_WALL: { fault: 'limit', retryable: true, meaning: 'the step ran longer than its wall limit' },
  LIMIT_CPU: { fault: 'limit', retryable: false, meaning: 'the step used more CPU than its limit' },
  LIMIT_MEMORY: { fault: 'limit', retryable: false, meaning: 'the step used more memory than its limit' },
  LIMIT_OUTPUT: { fault: 'limit', retryable: false, meaning: 'the outputs are larger than the limit' },
  LIMIT_LOG: { fault: 'limit', retryable: false, meaning: 'the step logged beyond every cap' },
  LIMIT_HOST_CALLS: { fault: 'limit', retryable: false, meaning: 'the step made more host calls than its limit' },
  POLICY_DENIED: { fault: 'policy', retryable: false, meaning: 'the sandbox policy does not allow it' },
  SANDBOX_CRASHED: {
    fault: 'plugin',
    retryable: true,
    meaning: 'the sandbox died under the step and no limit explains it',
  },
  SANDBOX_UNAVAILABLE: {
    fault: 'infrastructure',
    retryable: true,
    meaning: 'no sandbox could take the step: host, tier or runtime is not there',
  },
  PROTOCOL_ERROR: { fault: 'infrastructure', retryable: true, meaning: 'a peer broke the protocol and was cut off' },
  CANCELLED: { fault: 'request', retryable: false, meaning: 'somebody stopped it' },
  FLOW_INVALID: { fault: 'request', retryable: false, meaning: 'the flow definition has errors' },
  COMMAND_INVALID: { fault: 'request', retryable: false, meaning: 'the command cannot be read or is not allowed' },
  RUN_UNKNOWN: { fault: 'request', retryable: false, meaning: 'no such run' },
  RUN_EXISTS: { fault: 'request', retryable: false, meaning: 'a run of this id exists with another definition' },
  RUN_FINAL: { fault: 'request', retryable: false, meaning: 'the run has ended; the command changes nothing' },
  USAGE_INVALID: { fault: 'request', retryable: false, meaning: 'the command line is wrong' },
  CONFIG_INVALID: { fault: 'request', retryable: false, meaning: 'a setting or a configuration file is wrong' },
} as const satisfies Record<string, ErrorCodeInfo>;

export type ErrorCode = keyof typeof ERROR_CODES;

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERROR_CODES, text);
}

export function errorInfo(code: ErrorCode): ErrorCodeInfo {
  return ERROR_CODES[code];
}

/** An error with a code. Thrown where a caller cannot go on; expected outcomes are returned unions instead. */
export class FlowopsError extends Error {
  override readonly name = 'FlowopsError';
  readonly code: ErrorCode;

  /** @param message says what happened, to what, and what to change; it may be shown to a user. */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  get retryable(): boolean {
    return errorInfo(this.code).retryable;
  }
}

/** The message of anything that was thrown, for a person. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** For the `default` of a switch over a union: a compile error when a case is missing. */
export function assertNever(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
