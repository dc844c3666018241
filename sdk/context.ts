/** What a step is given: types only. The sandbox and `@flowops/sdk/testing` implement them. */

/**
 * Lines for the run's log. `fields` is kept as JSON beside the message; `console` ends here too.
 *
 * @example
 * const tell = (logger: Logger) => logger.warn('slow answer', { host: 'api.example.com', ms: 900 });
 */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/**
 * What a step has of the world: `this.context` in a class, `context` in `run({ context })`.
 *
 * @example
 * const load = async (context: TaskContext) => {
 *   const token = await context.secret('API_TOKEN');
 *   const headers = { authorization: `Bearer ${token}`, 'idempotency-key': context.idempotencyKey };
 *   const response = await context.fetch('https://api.example.com/orders', { headers, signal: context.signal });
 *   context.progress(1, 'loaded');
 *   return response.json();
 * };
 */
export interface TaskContext {
  /** Aborts when the run is stopped; what waits should listen to it. */
  readonly signal: AbortSignal;
  /** As WHATWG fetch; reaches what the manifest asks for and the policy grants, else POLICY_DENIED. */
  readonly fetch: typeof globalThis.fetch;
  /** A secret that the manifest asks for and the policy grants, else POLICY_DENIED. */
  secret(name: string): Promise<string>;
  /** Shown to whoever watches the run. @param fraction from 0 to 1. */
  progress(fraction: number, message?: string): void;
  /** The same for every attempt of this step: give it to services that know such keys. */
  readonly idempotencyKey: string;
  /** From 1; a retry has the next number. */
  readonly attempt: number;
}
