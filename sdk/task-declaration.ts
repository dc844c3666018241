/**
 * Reads what a default export declares: finds the record the SDK left on it (by the registered symbol, so any copy of
 * the SDK will do), checks it, and makes the manifest. What is wrong is a problem in words for the author.
 * Constructs a class once, because a field's initialiser is the default of its input; what a constructor throws goes
 * through to the caller.
 */
import { describeValue, toJsonText } from './json-text.ts';
import {
  type InputRecord,
  METADATA,
  type OutputRecord,
  TASK,
  type TaskRecord,
  VALUE_TYPES,
  type ValueType,
} from './metadata.ts';
import {
  hasOwn,
  isFiniteNumber,
  isSafeInteger,
  jsonParse,
  jsonStringify,
  reflectConstruct,
  reflectOwnKeys,
} from './primordials.ts';
import { cut } from './thrown.ts';

/** Of the whole manifest: the same number bounds a bundle's first line. */
const MAX_MANIFEST_LENGTH = 256 * 1024;
/** More fields than any step has; bounds the loops over a record that a plugin made by hand. */
const MAX_FIELDS = 1000;
/** Of a type that does not exist, in a message. */
const MAX_SHOWN_TYPE = 60;

export interface DeclaredInput {
  readonly name: string;
  readonly field: string;
  readonly type: ValueType;
  readonly required: boolean;
  /** JSON text, undefined where there is none. */
  readonly defaultJson: string | undefined;
}

export interface DeclaredOutput {
  readonly name: string;
  readonly field: string;
  readonly type: ValueType;
}

export interface TaskDeclaration {
  /** In the shape of the manifest contract; not yet checked against its schema. */
  readonly manifestJson: string;
  readonly inputs: readonly DeclaredInput[];
  readonly outputs: readonly DeclaredOutput[];
  readonly code:
    | { readonly kind: 'class'; readonly instance: Record<string, unknown> }
    | { readonly kind: 'function'; readonly run: (given: unknown) => unknown };
}

export type Described =
  | { readonly ok: true; readonly declaration: TaskDeclaration }
  | { readonly ok: false; readonly problem: string };

/** @param init what the constructor of a class is given. */
export function describeTask(exported: unknown, init?: unknown): Described {
  const found = findRecord(exported);
  if (!found.ok) return found;
  const { record, target } = found;
  const problems = copyProblems(record.problems);
  const code: TaskDeclaration['code'] =
    target.kind === 'class'
      ? { kind: 'class', instance: reflectConstruct(target.constructable, [init]) as Record<string, unknown> }
      : target;
  if (code.kind === 'class' && typeof code.instance.start !== 'function') {
    problems[problems.length] = 'the class has no start() method';
  }
  addMissing('name', "'acme.greet'", record.name, problems);
  addMissing('version', "'1.0.0'", record.version, problems);
  const inputs = readInputs(record.inputs, code, problems);
  const outputs = readOutputs(record.outputs, problems);
  const manifest = toJsonText(
    {
      name: record.name,
      version: record.version,
      description: record.description ?? '',
      runtime: record.runtime,
      permissions: { net: record.permissions?.net ?? [], secrets: record.permissions?.secrets ?? [] },
      inputs: inputs.manifest,
      outputs: outputs.manifest,
    },
    MAX_MANIFEST_LENGTH,
  );
  if (!manifest.ok) problems[problems.length] = `the declaration${manifest.at} ${manifest.problem}`;
  if (!manifest.ok || problems.length > 0) return { ok: false, problem: joinProblems(problems) };
  const declaration = { manifestJson: manifest.text, inputs: inputs.declared, outputs: outputs.declared, code };
  return { ok: true, declaration };
}

function addMissing(word: string, example: string, value: unknown, problems: string[]): void {
  if (value === undefined || value === '')
    problems[problems.length] = `the task has no ${word}; give it one: ${word}: ${example}`;
}

type Target =
  | { readonly kind: 'class'; readonly constructable: new (init: unknown) => unknown }
  | { readonly kind: 'function'; readonly run: (given: unknown) => unknown };
type Found =
  | { readonly ok: true; readonly record: TaskRecord; readonly target: Target }
  | { readonly ok: false; readonly problem: string };

const HOW = 'export a class with @TaskType that extends BaseTask, or what defineTask(…) returned, as the default';

function findRecord(exported: unknown): Found {
  if (exported === undefined) return wrong(`there is no default export; ${HOW}`);
  if ((typeof exported !== 'object' && typeof exported !== 'function') || exported === null) {
    return wrong(`the default export is ${describeValue(exported)}; ${HOW}`);
  }
  const holder = exported as { readonly [key: symbol]: unknown; readonly run?: unknown };
  const metadata = holder[METADATA] as { readonly [TASK]?: unknown } | null | undefined;
  const ofClass = typeof metadata === 'object' && metadata !== null ? metadata[TASK] : undefined;
  const ofFunction = holder[TASK];
  if (ofClass !== undefined && ofFunction !== undefined) {
    return wrong('the default export is both a class with @TaskType and the result of defineTask(…); keep one of them');
  }
  if (typeof exported === 'function') {
    if (ofFunction !== undefined) return wrong(`a class or function carries the record of defineTask(…); ${HOW}`);
    if (!isRecord(ofClass)) return wrong(`the default export is a function or class without @TaskType; ${HOW}`);
    if (ofClass.name === undefined) return wrong(joinProblems(withoutName(ofClass)));
    return { ok: true, record: ofClass, target: { kind: 'class', constructable: exported as Constructable } };
  }
  if (!isRecord(ofFunction)) return wrong(`the default export is an object that defineTask(…) did not make; ${HOW}`);
  const run = holder.run;
  if (typeof run !== 'function') return wrong('the task given to defineTask(…) has no run function');
  return { ok: true, record: ofFunction, target: { kind: 'function', run: run as (given: unknown) => unknown } };
}

type Constructable = new (init: unknown) => unknown;

/** A decorator that was used wrongly may be the reason why there is no name. */
function withoutName(record: TaskRecord): string[] {
  const problems = copyProblems(record.problems);
  return problems.length > 0 ? problems : ['the class has @Input or @Output but no @TaskType'];
}

function wrong(problem: string): Found & { ok: false } {
  return { ok: false, problem };
}

function isRecord(value: unknown): value is TaskRecord {
  if (typeof value !== 'object' || value === null) return false;
  const record = value as Partial<TaskRecord>;
  return record.api === 1 && typeof record.inputs === 'object' && typeof record.outputs === 'object';
}

interface Read<Declared> {
  readonly declared: Declared[];
  readonly manifest: Record<string, unknown>;
}

function readInputs(records: unknown, code: TaskDeclaration['code'], problems: string[]): Read<DeclaredInput> {
  const read: Read<DeclaredInput> = { declared: [], manifest: {} };
  eachField<InputRecord>(records, 'input', problems, (name, record, type, field) => {
    const initial = code.kind === 'class' ? code.instance[field] : undefined;
    const defaultJson = readDefault({ name, type, given: record.default, initial }, problems);
    const required = record.required ?? defaultJson === undefined;
    if (typeof required !== 'boolean') problems[problems.length] = `required of input "${name}" is not true or false`;
    if (required === true && defaultJson !== undefined) {
      problems[problems.length] = `input "${name}" is required and has a default; take one of them away`;
    }
    read.declared[read.declared.length] = { name, field, type, required, defaultJson };
    addMember(read.manifest, name, {
      type,
      required,
      default: defaultJson === undefined ? undefined : (jsonParse(defaultJson) as unknown),
      description: record.description,
    });
  });
  return read;
}

function readOutputs(records: unknown, problems: string[]): Read<DeclaredOutput> {
  const read: Read<DeclaredOutput> = { declared: [], manifest: {} };
  eachField<OutputRecord>(records, 'output', problems, (name, record, type, field) => {
    read.declared[read.declared.length] = { name, field, type };
    addMember(read.manifest, name, { type, description: record.description });
  });
  return read;
}

function eachField<R extends { readonly type: ValueType; readonly field: string }>(
  records: unknown,
  word: string,
  problems: string[],
  take: (name: string, record: R, type: ValueType, field: string) => void,
): void {
  if (typeof records !== 'object' || records === null) return;
  const names = reflectOwnKeys(records);
  if (names.length > MAX_FIELDS) {
    problems[problems.length] = `${names.length} ${word}s are declared; at most ${MAX_FIELDS} are allowed`;
    return;
  }
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    if (typeof name !== 'string') continue;
    const record = (records as Record<string, R>)[name];
    const type: unknown = record?.type;
    const field: unknown = record?.field;
    if (record === undefined || !isValueType(type) || typeof field !== 'string') {
      problems[problems.length] = `${word} "${name}" ${wrongType(type)}`;
      continue;
    }
    take(name, record, type, field);
  }
}

/** Words of other languages for what has a name here. */
const MEANT: Readonly<Record<string, string>> = {
  number: 'integer or float',
  int: 'integer',
  double: 'float',
  bool: 'boolean',
  text: 'string',
  object: 'json',
  array: 'json',
  any: 'json',
};

function wrongType(type: unknown): string {
  if (type === undefined)
    return "has no type; say one of them: type: 'string', 'integer', 'float', 'boolean' or 'json'";
  const shown = typeof type === 'string' ? jsonStringify(cut(type, MAX_SHOWN_TYPE)) : describeValue(type);
  const meant = typeof type === 'string' && hasOwn(MEANT, type) ? `take ${MEANT[type]}; ` : '';
  return `has the type ${shown}; ${meant}types are string, integer, float, boolean and json`;
}

function readDefault(
  given: { name: string; type: ValueType; given: unknown; initial: unknown },
  problems: string[],
): string | undefined {
  const value = given.given === undefined ? given.initial : given.given;
  if (value === undefined) return undefined;
  const problem = typeProblem(value, given.type);
  const text = problem === undefined ? toJsonText(value, MAX_MANIFEST_LENGTH) : undefined;
  if (problem !== undefined || text?.ok === false) {
    const what = problem ?? (text?.ok === false ? `${text.at} ${text.problem}` : '');
    problems[problems.length] = `the default of input "${given.name}" ${what}`;
    return undefined;
  }
  if (given.given !== undefined && given.initial !== undefined) {
    const initial = toJsonText(given.initial, MAX_MANIFEST_LENGTH);
    if (!initial.ok || initial.text !== text?.text) {
      problems[problems.length] =
        `input "${given.name}" has a default and another value as its initialiser; take one of them away`;
    }
  }
  return text?.text;
}

/** What is wrong with a value of a declared type, as the end of a sentence; json is looked at when it is written. */
export function typeProblem(value: unknown, type: ValueType): string | undefined {
  switch (type) {
    case 'string':
      return typeof value === 'string' ? undefined : `is ${describeValue(value)}, not a string`;
    case 'integer':
      return isSafeInteger(value)
        ? undefined
        : `is ${describeValue(value)}, not an integer that a number holds exactly`;
    case 'float':
      return isFiniteNumber(value) ? undefined : `is ${describeValue(value)}, not a finite number`;
    case 'boolean':
      return typeof value === 'boolean' ? undefined : `is ${describeValue(value)}, not true or false`;
    case 'json':
      return value === undefined ? 'is undefined, which JSON cannot hold' : undefined;
  }
}

function isValueType(value: unknown): value is ValueType {
  for (let i = 0; i < VALUE_TYPES.length; i++) if (VALUE_TYPES[i] === value) return true;
  return false;
}

function addMember(target: Record<string, unknown>, name: string, value: unknown): void {
  if (hasOwn(target, name)) return;
  Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
}

function copyProblems(problems: unknown): string[] {
  const copy: string[] = [];
  if (!Array.isArray(problems)) return copy;
  for (let i = 0; i < problems.length && i < MAX_FIELDS; i++) {
    const problem: unknown = problems[i];
    if (typeof problem === 'string') copy[copy.length] = problem;
  }
  return copy;
}

function joinProblems(problems: readonly string[]): string {
  let text = '';
  for (let i = 0; i < problems.length; i++) text += (i === 0 ? '' : '; ') + problems[i];
  return text;
}
