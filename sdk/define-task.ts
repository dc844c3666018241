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

export interface InputDefinition {
  readonly type: ValueType;
  readonly required?: boolean;
  readonly default?: unknown;
  readonly description?: string;
}

export interface OutputDefinition {
  readonly type: ValueType;
  readonly description?: string;
}

type InputDefinitions = Readonly<Record<string, InputDefinition>>;
type OutputDefinitions = Readonly<Record<string, OutputDefinition>>;

/** An input that is not required and has no default may be undefined. */
export type InputValues<I extends InputDefinitions> = {
  readonly [K in keyof I]:
    | ValueTypes[I[K]['type']]
    | (I[K] extends { readonly default: unknown }
        ? never
        : I[K] extends { readonly required: false }
          ? undefined
          : never);
};
export type OutputValues<O extends OutputDefinitions> = { readonly [K in keyof O]: ValueTypes[O[K]['type']] };

/** Each default has the type its input declares. */
type CheckedInputs<I extends InputDefinitions> = {
  readonly [K in keyof I]: { readonly type: I[K]['type']; readonly default?: ValueTypes[I[K]['type']] };
};

export interface RunArguments<I extends InputDefinitions> {
  readonly inputs: InputValues<I>;
  readonly logger: Logger;
  readonly context: TaskContext;
}

/** Without declared outputs it does not matter what `run` gives back. */
type RunResult<O extends OutputDefinitions> = keyof O extends never ? unknown : OutputValues<O>;

export interface TaskDefinition<I extends InputDefinitions, O extends OutputDefinitions> extends TaskOptions {
  readonly inputs?: I & CheckedInputs<I>;
  readonly outputs?: O;
  /** The work. What it returns are the outputs. Throwing fails the attempt; `context.signal` tells of a stop. */
  run(given: RunArguments<I>): RunResult<O> | Promise<RunResult<O>>;
}

export interface DefinedTask<I extends InputDefinitions, O extends OutputDefinitions> {
  readonly [TASK]: TaskRecord;
  readonly run: (given: RunArguments<I>) => RunResult<O> | Promise<RunResult<O>>;
}

/** The default export of a plugin file: `export default defineTask({ name, version, inputs, outputs, run })`. */
export function defineTask<
  const I extends InputDefinitions = Record<never, never>,
  const O extends OutputDefinitions = Record<never, never>,
>(definition: TaskDefinition<I, O>): DefinedTask<I, O> {
  const { name, version, description, permissions, runtime, run } = definition;
  const record: TaskRecord = {
    api: 1,
    kind: 'function',
    name,
    version,
    ...(description === undefined ? {} : { description }),
    ...(permissions === undefined ? {} : { permissions }),
    ...(runtime === undefined ? {} : { runtime }),
    inputs: withField<InputDefinition, InputRecord>(definition.inputs),
    outputs: withField<OutputDefinition, OutputRecord>(definition.outputs),
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
