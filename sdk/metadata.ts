/**
 * What a task's class or definition carries so that a sandbox can find out what it is: one record under
 * `Symbol.for('flowops.task')`. A bundle holds its own copy of the SDK and the sandbox another one, so the two meet
 * at this registered symbol and at nothing else. task-runtime.ts turns a record into a manifest.
 */

/** The words of `@Input` and `@Output`; the same list as in the manifest contract. */
export const VALUE_TYPES = ['string', 'integer', 'float', 'boolean', 'json'] as const;
/**
 * The types that an input or output can have.
 *
 * @example
 * const types: readonly ValueType[] = ['string', 'integer', 'float', 'boolean', 'json'];
 */
export type ValueType = (typeof VALUE_TYPES)[number];

/**
 * Any JSON, for an input or output of the type json that is checked before it is used.
 *
 * @example
 * const isText = (value: JsonValue): value is string => typeof value === 'string';
 */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/**
 * The TypeScript type that a declared type stands for. `json` is for the author to narrow.
 *
 * @example
 * const count: ValueTypes['integer'] = 3;
 */
export interface ValueTypes {
  string: string;
  integer: number;
  float: number;
  boolean: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: the author says what JSON it is, as with JSON.parse
  json: any;
}

/**
 * `"host:port"`, `"private:host:port"`, names of secrets: what a task asks for. It gets what the policy grants too.
 *
 * @example
 * const permissions: Permissions = { net: ['api.example.com:443', 'private:10.0.0.5:8080'], secrets: ['API_TOKEN'] };
 */
export interface Permissions {
  readonly net?: readonly string[];
  readonly secrets?: readonly string[];
}

/**
 * What names a task and says what it needs: given to `@TaskType`, and part of what `defineTask` is given.
 *
 * @example
 * const options: TaskOptions = { name: 'acme.greet', version: '1.0.0', description: 'Greets somebody.' };
 */
export interface TaskOptions {
  /** 1 to 128 of `a-z 0-9 . _ -`, beginning with a letter or digit. */
  readonly name: string;
  /** Semantic version, "1.0.0". */
  readonly version: string;
  readonly description?: string;
  readonly permissions?: Permissions;
  /** "node": needs Node's own modules, runs in the container tier only. */
  readonly runtime?: 'node';
}

/**
 * What `@Input` is given.
 *
 * @example
 * const options: InputOptions<'integer'> = { type: 'integer', name: 'max-items', default: 10, description: 'At most' };
 */
export interface InputOptions<T extends ValueType = ValueType> {
  readonly type: T;
  /** Default: the field's name. */
  readonly name?: string;
  /** Default: true for an input without a default. */
  readonly required?: boolean;
  readonly default?: ValueTypes[T];
  readonly description?: string;
}

/**
 * What `@Output` is given.
 *
 * @example
 * const options: OutputOptions<'json'> = { type: 'json', description: 'One entry for each order' };
 */
export interface OutputOptions<T extends ValueType = ValueType> {
  readonly type: T;
  /** Default: the field's name. */
  readonly name?: string;
  readonly description?: string;
}

export interface InputRecord {
  readonly type: ValueType;
  readonly field: string;
  readonly required?: boolean;
  readonly default?: unknown;
  readonly description?: string;
}

export interface OutputRecord {
  readonly type: ValueType;
  readonly field: string;
  readonly description?: string;
}

export interface TaskRecord {
  /** Version of this shape. */
  readonly api: 1;
  readonly kind: 'class' | 'function';
  name?: string;
  version?: string;
  description?: string;
  runtime?: 'node';
  permissions?: Permissions;
  readonly inputs: Record<string, InputRecord>;
  readonly outputs: Record<string, OutputRecord>;
  /** What a decorator found wrong; told when the task is described, with the task's name. */
  readonly problems: string[];
}

export const TASK: unique symbol = Symbol.for('flowops.task');
/** An error that carries `{ retryable, retryAfterMs }` under this symbol steers the retries of its step. */
export const TASK_ERROR: unique symbol = Symbol.for('flowops.task-error');
/** Where decorators keep metadata: Node has no `Symbol.metadata` yet, esbuild falls back to the registered one. */
export const METADATA: symbol =
  (Symbol as unknown as { readonly metadata?: symbol }).metadata ?? Symbol.for('Symbol.metadata');

/** The record of the class that is being decorated, begun with what its parent declared. */
export function ownRecord(metadata: object): TaskRecord {
  const holder = metadata as { [TASK]?: TaskRecord };
  const existing = holder[TASK];
  if (existing !== undefined && Object.hasOwn(metadata, TASK)) return existing;
  const record: TaskRecord = {
    api: 1,
    kind: 'class',
    inputs: { ...existing?.inputs },
    outputs: { ...existing?.outputs },
    problems: [...(existing?.problems ?? [])],
  };
  Object.defineProperty(metadata, TASK, { value: record, enumerable: true });
  return record;
}
