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
type ClassDecorator = <C extends TaskClass>(target: C, context: ClassDecoratorContext<C>) => void;
/** The field has the declared type, may narrow it (`'a' | 'b'` for a string), and may be undefined. */
type FieldDecorator<T extends ValueType> = <This extends BaseTask, V extends ValueTypes[T] | undefined>(
  value: undefined,
  context: ClassFieldDecoratorContext<This, V>,
) => void;

/** What standard decorators are given second; JavaScript and wrong settings may give something else. */
interface DecoratorContext {
  readonly kind: string;
  readonly name: string | symbol | undefined;
  readonly static?: boolean;
  readonly private?: boolean;
  readonly metadata: object;
}

/** What BaseTask has or calls. An input in its place would take it away. */
const MEMBERS_OF_BASE_TASK: readonly string[] = [
  'logger',
  'context',
  'start',
  'stop',
  'pause',
  'resume',
  'constructor',
];

/**
 * Names the task. The class extends BaseTask and is the default export of its file.
 *
 * @example
 * export default @TaskType({ name: 'acme.greet', version: '1.0.0' }) class Greet extends BaseTask {
 *   start() { this.logger.info('Hello'); }
 * }
 */
export function TaskType(options: TaskOptions): ClassDecorator;
export function TaskType(options: TaskOptions | undefined, misused?: unknown): ClassDecorator {
  const example = "@TaskType({ name: 'acme.greet', version: '1.0.0' })";
  if (isMisused('@TaskType', options, misused, example)) return nothing;
  return (_target: unknown, context: unknown): void => {
    const { kind, name, metadata } = readContext('@TaskType', context);
    const record = ownRecord(metadata);
    if (kind !== 'class') {
      record.problems.push(`@TaskType on "${String(name)}": it stands before the class`);
      return;
    }
    // Empty, so that it is told as what is missing and not as a class without @TaskType.
    record.name = options?.name ?? '';
    record.version = options?.version ?? '';
    if (options?.description !== undefined) record.description = options.description;
    if (options?.permissions !== undefined) record.permissions = options.permissions;
    if (options?.runtime !== undefined) record.runtime = options.runtime;
  };
}

/**
 * An input. It is set before `start()` is called. The field's initialiser (or `default`) is what it has when the flow
 * gives nothing; without one the input is required.
 *
 * @example
 * class Repeat extends BaseTask { @Input({ type: 'integer', description: 'How often' }) times = 2;
 *   start() { this.logger.info(`${this.times} times`); }
 * }
 */
export function Input<const T extends ValueType>(options: InputOptions<T>): FieldDecorator<T>;
export function Input(options: InputOptions | undefined, misused?: unknown): FieldDecorator<ValueType> {
  if (isMisused('@Input', options, misused, "@Input({ type: 'string' })")) return nothing;
  return (_value: unknown, context: unknown): void => {
    const place = readContext('@Input', context);
    const record = ownRecord(place.metadata);
    const field = fieldName('@Input', record, place);
    if (field === undefined) return;
    const { name = field, type, ...more } = options ?? {};
    const before = Object.hasOwn(record.inputs, name) ? record.inputs[name]?.field : field;
    if (before !== field) record.problems.push(`the fields "${before}" and "${field}" are both the input "${name}"`);
    // A type that is missing is told with the input's name, like one that does not exist.
    define(record.inputs, name, { type: type as ValueType, field, ...onlyGiven(more) });
  };
}

/**
 * An output. Its value when `start()` has ended is the step's output; it has to be set by then.
 *
 * @example
 * class Clock extends BaseTask { @Output({ type: 'string', description: 'ISO 8601' }) time = '';
 *   start() { this.time = new Date().toISOString(); }
 * }
 */
export function Output<const T extends ValueType>(options: OutputOptions<T>): FieldDecorator<T>;
export function Output(options: OutputOptions | undefined, misused?: unknown): FieldDecorator<ValueType> {
  if (isMisused('@Output', options, misused, "@Output({ type: 'string' })")) return nothing;
  return (_value: unknown, context: unknown): void => {
    const place = readContext('@Output', context);
    const record = ownRecord(place.metadata);
    const field = fieldName('@Output', record, place);
    if (field === undefined) return;
    const { name = field, type, description } = options ?? {};
    const before = Object.hasOwn(record.outputs, name) ? record.outputs[name]?.field : field;
    if (before !== field) record.problems.push(`the fields "${before}" and "${field}" are both the output "${name}"`);
    define(record.outputs, name, { type: type as ValueType, field, ...onlyGiven({ description }) });
  };
}

function nothing(): void {}

/**
 * Without its parentheses a decorator is given what it decorates instead of its options: standard ones with a context
 * behind it, in which the problem is noted; those of `experimentalDecorators` with a name or nothing.
 */
function isMisused(decorator: string, options: unknown, context: unknown, example: string): boolean {
  if (context === undefined && typeof options !== 'function') return false;
  const { name, metadata } = readContext(decorator, context);
  ownRecord(metadata).problems.push(`${decorator} on "${String(name)}" has no parentheses; write ${example}`);
  return true;
}

function readContext(decorator: string, context: unknown): DecoratorContext {
  if (typeof context === 'object' && context !== null && 'metadata' in context && 'kind' in context) {
    return context as DecoratorContext;
  }
  throw new TypeError(
    `${decorator} is a standard decorator and was used as one of "experimentalDecorators": take that out of ` +
      'tsconfig.json, and give vitest the plugin flowops() of @flowops/sdk/vitest',
  );
}

function fieldName(decorator: string, record: TaskRecord, context: DecoratorContext): string | undefined {
  const name = String(context.name);
  const { problems } = record;
  if (context.kind !== 'field') problems.push(`${decorator} on "${name}": only a field can be decorated`);
  else if (context.static === true)
    problems.push(`${decorator} on "${name}": a static field belongs to no single step`);
  else if (context.private === true)
    problems.push(`${decorator} on "${name}": a #private field cannot be set from outside`);
  else if (typeof context.name !== 'string') problems.push(`${decorator}: a field named by a symbol has no name`);
  else if (MEMBERS_OF_BASE_TASK.includes(name))
    problems.push(
      `${decorator} on "${name}": BaseTask has a member of that name; rename the field, and say name: '${name}'`,
    );
  else return context.name;
  return undefined;
}

function onlyGiven<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as { [K in keyof T]: Exclude<T[K], undefined> };
}

/** Own property, also for a name such as `__proto__` (which the manifest then refuses by its rules for names). */
function define<V>(target: Record<string, V>, name: string, value: V): void {
  Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
}
