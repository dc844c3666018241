/**
 * `@TaskType`, `@Input` and `@Output` (standard decorators). They only write down what was declared, into the class's
 * metadata; what is wrong is written down too and told when the task is described, so that a wrong declaration is a
 * named problem and not an exception out of a module. The types make the compiler check each field.
 */
import type { BaseTask } from './base-task.ts';
import {
  type InputOptions,
  type OutputOptions,
  ownRecord,
  type TaskOptions,
  type TaskRecord,
  type ValueType,
  type ValueTypes,
} from './metadata.ts';

type TaskClass = abstract new (...args: never[]) => BaseTask;

/** Names the task. The class extends BaseTask and is the default export of its file. */
export function TaskType(options: TaskOptions) {
  return <C extends TaskClass>(_target: C, context: ClassDecoratorContext<C>): void => {
    const record = ownRecord(context.metadata);
    record.name = options.name;
    record.version = options.version;
    if (options.description !== undefined) record.description = options.description;
    if (options.permissions !== undefined) record.permissions = options.permissions;
    if (options.runtime !== undefined) record.runtime = options.runtime;
  };
}

/**
 * An input. It is set before `start()` is called. The field's initialiser (or `default`) is what it has when the flow
 * gives nothing; without one the input is required.
 */
export function Input<const T extends ValueType>(options: InputOptions<T>) {
  return <This extends BaseTask, V extends ValueTypes[T] | undefined>(
    _value: undefined,
    context: ClassFieldDecoratorContext<This, V>,
  ): void => {
    const record = ownRecord(context.metadata);
    const field = fieldName('@Input', record, context);
    if (field === undefined) return;
    const name = options.name ?? field;
    if (Object.hasOwn(record.inputs, name) && record.inputs[name]?.field !== field) {
      record.problems.push(`the fields "${record.inputs[name]?.field}" and "${field}" are both the input "${name}"`);
    }
    define(record.inputs, name, {
      type: options.type,
      field,
      ...(options.required === undefined ? {} : { required: options.required }),
      ...(options.default === undefined ? {} : { default: options.default as unknown }),
      ...(options.description === undefined ? {} : { description: options.description }),
    });
  };
}

/** An output. Its value when `start()` has ended is the step's output; it has to be set by then. */
export function Output<const T extends ValueType>(options: OutputOptions<T>) {
  return <This extends BaseTask, V extends ValueTypes[T] | undefined>(
    _value: undefined,
    context: ClassFieldDecoratorContext<This, V>,
  ): void => {
    const record = ownRecord(context.metadata);
    const field = fieldName('@Output', record, context);
    if (field === undefined) return;
    const name = options.name ?? field;
    if (Object.hasOwn(record.outputs, name) && record.outputs[name]?.field !== field) {
      record.problems.push(`the fields "${record.outputs[name]?.field}" and "${field}" are both the output "${name}"`);
    }
    define(record.outputs, name, {
      type: options.type,
      field,
      ...(options.description === undefined ? {} : { description: options.description }),
    });
  };
}

function fieldName(
  decorator: string,
  record: TaskRecord,
  context: {
    readonly kind: string;
    readonly name: string | symbol;
    readonly static: boolean;
    readonly private: boolean;
  },
): string | undefined {
  const name = String(context.name);
  if (context.kind !== 'field') record.problems.push(`${decorator} on "${name}": only a field can be decorated`);
  else if (context.static) record.problems.push(`${decorator} on "${name}": a static field belongs to no single step`);
  else if (context.private)
    record.problems.push(`${decorator} on "${name}": a #private field cannot be set from outside`);
  else if (typeof context.name !== 'string')
    record.problems.push(`${decorator}: a field named by a symbol has no name`);
  else return context.name;
  return undefined;
}

/** Own property, also for a name such as `__proto__` (which the manifest then refuses by its rules for names). */
function define<V>(target: Record<string, V>, name: string, value: V): void {
  Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
}
