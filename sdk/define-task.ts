/** A task as a function: the same manifest as the class form, types inferred, nothing to lower. */
import type { Logger, TaskContext } from './context.ts';
import {
  type InputRecord,
  type OutputRecord,
  TASK,
  type TaskOptions,
  type TaskRecord,
  type ValueType,
  type ValueTypes,
} from './metadata.ts';

/**
 * An input of `defineTask`. It is required unless it has a default or says `required: false`.
 *
 * @example
 * const inputs = { city: { type: 'string' }, days: { type: 'integer', default: 3 } } satisfies Record<string, InputDefinition>;
 */
export interface InputDefinition {
  readonly type: ValueType;
  readonly required?: boolean;
  readonly default?: unknown;
  readonly description?: string;
}

/**
 * An output of `defineTask`: a member of what `run` returns.
 *
 * @example
 * const outputs = { total: { type: 'float', description: 'With tax' } } satisfies Record<string, OutputDefinition>;
 */
export interface OutputDefinition {
  readonly type: ValueType;
  readonly description?: string;
}

type InputDefinitions = Readonly<Record<string, InputDefinition>>;
type OutputDefinitions = Readonly<Record<string, OutputDefinition>>;

/**
 * The values that `run` gets for declared inputs. One that is not required and has no default may be undefined.
 *
 * @example
 * const greet = ({ name }: InputValues<{ name: { type: 'string' } }>) => `Hello, ${name}!`;
 */
export type InputValues<I extends InputDefinitions> = {
  readonly [K in keyof I]:
    | ValueTypes[I[K]['type']]
    | (I[K] extends { readonly default: unknown }
        ? never
        : I[K] extends { readonly required: false }
          ? undefined
          : never);
};
/**
 * The values that `run` returns for declared outputs.
 *
 * @example
 * const none: OutputValues<{ total: { type: 'float' } }> = { total: 0 };
 */
export type OutputValues<O extends OutputDefinitions> = { readonly [K in keyof O]: ValueTypes[O[K]['type']] };

/** Each default has the type its input declares. */
type CheckedInputs<I extends InputDefinitions> = {
  readonly [K in keyof I]: { readonly type: I[K]['type']; readonly default?: ValueTypes[I[K]['type']] };
};

/**
 * What `run` is given.
 *
 * @example
 * const run = ({ inputs, logger }: RunArguments<{ name: { type: 'string' } }>) => logger.info(inputs.name);
 */
export interface RunArguments<I extends InputDefinitions> {
  readonly inputs: InputValues<I>;
  readonly logger: Logger;
  readonly context: TaskContext;
}

/** Without declared outputs it does not matter what `run` gives back. */
type RunResult<O extends OutputDefinitions> = keyof O extends never ? unknown : OutputValues<O>;

/**
 * What `defineTask` is given: the name, the declarations and the work.
 *
 * @example
 * const nothing: TaskDefinition<Record<never, never>, Record<never, never>> = {
 *   name: 'acme.nothing',
 *   version: '1.0.0',
 *   run() {},
 * };
 */
export interface TaskDefinition<I extends InputDefinitions, O extends OutputDefinitions> extends TaskOptions {
  readonly inputs?: I & CheckedInputs<I>;
  readonly outputs?: O;
  /** The work. What it returns are the outputs. Throwing fails the attempt; `context.signal` tells of a stop. */
  run(given: RunArguments<I>): RunResult<O> | Promise<RunResult<O>>;
}

/**
 * What `defineTask` returns: the default export of a plugin's file, and what `runTask` of a test takes.
 *
 * @example
 * const task: DefinedTask<{ name: { type: 'string' } }, Record<never, never>> = defineTask({
 *   name: 'acme.log',
 *   version: '1.0.0',
 *   inputs: { name: { type: 'string' } },
 *   run: ({ inputs, logger }) => logger.info(inputs.name),
 * });
 */
export interface DefinedTask<I extends InputDefinitions, O extends OutputDefinitions> {
  readonly [TASK]: TaskRecord;
  readonly run: (given: RunArguments<I>) => RunResult<O> | Promise<RunResult<O>>;
}

/**
 * A task as a function, the default export of its file. Types of inputs and outputs come from what is declared.
 *
 * @example
 * export default defineTask({
 *   name: 'acme.greet',
 *   version: '1.0.0',
 *   inputs: { name: { type: 'string' }, times: { type: 'integer', default: 1 } },
 *   outputs: { message: { type: 'string' } },
 *   run: ({ inputs }) => ({ message: `Hello, ${inputs.name}! `.repeat(inputs.times).trim() }),
 * });
 */
export function defineTask<
  const I extends InputDefinitions = Record<never, never>,
  const O extends OutputDefinitions = Record<never, never>,
>(definition: TaskDefinition<I, O>): DefinedTask<I, O> {
  // JavaScript may give nothing: that is told when the task is described.
  const { name, version, description, permissions, runtime, inputs, outputs, run } = definition ?? {};
  const record: TaskRecord = {
    api: 1,
    kind: 'function',
    name,
    version,
    ...(description === undefined ? {} : { description }),
    ...(permissions === undefined ? {} : { permissions }),
    ...(runtime === undefined ? {} : { runtime }),
    inputs: withField<InputDefinition, InputRecord>(inputs),
    outputs: withField<OutputDefinition, OutputRecord>(outputs),
    problems: [],
  };
  return { [TASK]: record, run };
}

function withField<D extends object, R extends D & { readonly field: string }>(
  definitions: Readonly<Record<string, D>> | undefined,
): Record<string, R> {
  const entries = Object.entries(definitions ?? {});
  return Object.fromEntries(entries.map(([name, definition]) => [name, { ...definition, field: name } as R]));
}
