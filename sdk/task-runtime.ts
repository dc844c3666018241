/**
 * Runs one task once: inputs in as JSON text, outputs out as JSON text. The isolate's prelude bundles this file, and
 * `@flowops/sdk/testing` uses it too, so that a task behaves the same in both.
 *
 * Invariants:
 *   R1. `report` settles at most once and never rejects; whatever the plugin does to itself becomes a report.
 *   R2. What was checked is what is reported: each output is read once.
 *   R3. Nothing is coerced on the way out: a value that is not of its declared type is OUTPUT_INVALID.
 */
import type { TaskInit } from './base-task.ts';
import { toJsonText } from './json-text.ts';
import { hasOwn, isArray, jsonParse, jsonStringify, reflectApply, reflectDefineProperty } from './primordials.ts';
import { type DeclaredInput, type TaskDeclaration, typeProblem } from './task-declaration.ts';
import { cut, describeThrown } from './thrown.ts';

export { type Described, describeTask, type TaskDeclaration } from './task-declaration.ts';

/** The codes a runtime gives by itself; a host call may have failed with others. */
export type TaskReport =
  | { readonly status: 'completed'; readonly outputsJson: string }
  | {
      readonly status: 'failed';
      readonly code: string;
      readonly message: string;
      /** As the language's engine wrote it; the sandbox cuts out the plugin's own frames. */
      readonly stack: string;
      readonly isRetryable: boolean;
      readonly retryAfterMs: number;
    };

export interface TaskEnvironment {
  readonly init: TaskInit;
  /** UTF-16 units of the outputs together. The sandbox counts bytes as well. */
  readonly maxOutputLength: number;
  /** The code of an error that a host call made, undefined for every other error. */
  readonly codeOf: (thrown: unknown) => string | undefined;
  /** What pause(), resume() or stop() of the task threw: it changes nothing, but somebody should read it. */
  readonly onHookError: (hook: Hook, message: string) => void;
}

export type Hook = 'stop' | 'pause' | 'resume';

export interface TaskRun {
  readonly report: Promise<TaskReport>;
  /** Calls the task's own method of that name, if it has one. Never throws. */
  call(hook: Hook): void;
}

/** Sets the inputs, calls `start()` (or `run`) and gathers the outputs. */
export function runTask(declaration: TaskDeclaration, inputsJson: string, environment: TaskEnvironment): TaskRun {
  const { code } = declaration;
  return {
    report: execute(declaration, inputsJson, environment),
    call: (hook) => {
      if (code.kind === 'class') void callHook(code.instance, hook, environment);
    },
  };
}

/** The report for anything that was thrown by the plugin. */
export function reportThrown(thrown: unknown, environment: Pick<TaskEnvironment, 'codeOf'>): TaskReport {
  const described = describeThrown(thrown);
  const code = environment.codeOf(thrown) ?? (described.isRetryable ? 'PLUGIN_ERROR' : 'PLUGIN_FATAL');
  return { status: 'failed', code, ...described };
}

export function failed(code: string, message: string): TaskReport {
  return { status: 'failed', code, message, stack: '', isRetryable: true, retryAfterMs: 0 };
}

async function execute(
  declaration: TaskDeclaration,
  inputsJson: string,
  environment: TaskEnvironment,
): Promise<TaskReport> {
  try {
    const inputs = readInputs(declaration.inputs, inputsJson);
    if (!inputs.ok) return failed('INPUT_INVALID', inputs.problem);
    const produced = await start(declaration, inputs.values, environment.init);
    return gather(declaration, produced, environment.maxOutputLength);
  } catch (thrown) {
    return reportThrown(thrown, environment);
  }
}

/** Calls the plugin's code and gives the object on which the outputs are. */
async function start(declaration: TaskDeclaration, values: InputValue[], init: TaskInit): Promise<unknown> {
  const { code } = declaration;
  if (code.kind === 'function') {
    const inputs: Record<string, unknown> = {};
    for (let i = 0; i < values.length; i++) setOwn(inputs, values[i]?.name ?? '', values[i]?.value);
    return await code.run({ inputs, logger: init.logger, context: init.context });
  }
  const { instance } = code;
  setOwn(instance, 'logger', init.logger, false);
  setOwn(instance, 'context', init.context, false);
  for (let i = 0; i < values.length; i++) setOwn(instance, values[i]?.field ?? '', values[i]?.value);
  await reflectApply(instance.start as () => unknown, instance, []);
  return instance;
}

interface InputValue {
  readonly name: string;
  readonly field: string;
  readonly value: unknown;
}

type InputsRead =
  | { readonly ok: true; readonly values: InputValue[] }
  | { readonly ok: false; readonly problem: string };

function readInputs(declared: readonly DeclaredInput[], inputsJson: string): InputsRead {
  let given: unknown;
  try {
    given = jsonParse(inputsJson === '' ? '{}' : inputsJson);
  } catch {
    return { ok: false, problem: 'the inputs are not JSON' };
  }
  if (typeof given !== 'object' || given === null || isArray(given)) {
    return { ok: false, problem: 'the inputs are not one JSON object' };
  }
  const values: InputValue[] = [];
  for (let i = 0; i < declared.length; i++) {
    const input = declared[i];
    if (input === undefined) continue;
    const { name, field, type, defaultJson, required } = input;
    const value: unknown = hasOwn(given, name) ? (given as Record<string, unknown>)[name] : undefined;
    if (value === undefined || (value === null && type !== 'json')) {
      if (required) return { ok: false, problem: `input "${name}" is required and was not given` };
      if (defaultJson !== undefined) values[values.length] = { name, field, value: jsonParse(defaultJson) as unknown };
      continue;
    }
    const problem = typeProblem(value, type);
    if (problem !== undefined) return { ok: false, problem: `input "${name}" ${problem}` };
    values[values.length] = { name, field, value };
  }
  return { ok: true, values };
}

function gather(declaration: TaskDeclaration, produced: unknown, maxLength: number): TaskReport {
  const { code, outputs } = declaration;
  if (outputs.length > 0 && (typeof produced !== 'object' || produced === null)) {
    return failed('OUTPUT_INVALID', 'run() returned no object; return one with the declared outputs');
  }
  let text = '{';
  for (let i = 0; i < outputs.length; i++) {
    const output = outputs[i];
    if (output === undefined) continue;
    const read = readOutput(produced as object, output.field);
    if (!read.ok) return failed('OUTPUT_INVALID', `output "${output.name}" could not be read: ${read.problem}`);
    if (read.value === undefined) {
      const when = code.kind === 'class' ? 'when start() ended' : 'in what run() returned';
      return failed('OUTPUT_INVALID', `output "${output.name}" was not set: it is undefined ${when}`);
    }
    const problem = typeProblem(read.value, output.type);
    if (problem !== undefined) return failed('OUTPUT_INVALID', `output "${output.name}" ${problem}`);
    const json = toJsonText(read.value, maxLength - text.length);
    if (!json.ok && json.reason === 'too-long') {
      return failed(
        'LIMIT_OUTPUT',
        `output "${output.name}" makes the outputs larger than the limit of ${maxLength} bytes`,
      );
    }
    if (!json.ok) return failed('OUTPUT_INVALID', cut(`output "${output.name}"${json.at} ${json.problem}`, 1000));
    text += `${i === 0 ? '' : ','}${jsonStringify(output.name)}:${json.text}`;
  }
  return { status: 'completed', outputsJson: `${text}}` };
}

function readOutput(holder: object, field: string): { ok: true; value: unknown } | { ok: false; problem: string } {
  try {
    return { ok: true, value: (holder as Record<string, unknown>)[field] };
  } catch (thrown) {
    return { ok: false, problem: describeThrown(thrown).message };
  }
}

async function callHook(instance: Record<string, unknown>, hook: Hook, environment: TaskEnvironment): Promise<void> {
  try {
    const method = instance[hook];
    if (typeof method === 'function') await reflectApply(method as () => unknown, instance, []);
  } catch (thrown) {
    environment.onHookError(hook, describeThrown(thrown).message);
  }
}

/** An own data property, whatever setters a prototype has. */
function setOwn(target: object, key: string, value: unknown, enumerable = true): void {
  const descriptor = { value, enumerable, configurable: true, writable: true, __proto__: null };
  if (!reflectDefineProperty(target, key, descriptor)) throw new TypeError(`the field "${key}" cannot be set`);
}
