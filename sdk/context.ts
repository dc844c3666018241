/** What a step is given: types only. The sandbox and `@flowops/sdk/testing` implement them. */

/** Each line goes to the run's log; `fields` is kept as JSON beside the message. */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface TaskContext {
  /** Aborts when the run is stopped. */
  readonly signal: AbortSignal;
  /** As WHATWG fetch; reaches what the manifest asks for and the policy grants, else POLICY_DENIED. */
  readonly fetch: typeof globalThis.fetch;
  /** A secret that the manifest asks for and the policy grants, else POLICY_DENIED. */
  secret(name: string): Promise<string>;
  /** @param fraction from 0 to 1. */
  progress(fraction: number, message?: string): void;
  /** The same for every attempt of this step: give it to services that know such keys. */
  readonly idempotencyKey: string;
  /** From 1. */
  readonly attempt: number;
}
