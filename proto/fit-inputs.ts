/**
 * Given inputs against declared ones, for a plugin and for a flow: text is read by the declared type, and every
 * problem is told at once. Pure.
 */
import { nearestName } from './ids.ts';
import type { Json, JsonObject } from './json.ts';
import { coerceValue, type InputDeclaration, type ValueType } from './manifest.ts';
import { showControls } from './terminal-text.ts';

/** All inputs of a step together, bytes of JSON (design 4.2). */
export const MAX_INPUT_BYTES = 8 * 1024 * 1024;
/** A wrong value is quoted in its problem up to here. */
const MAX_SHOWN_CHARS = 80;

export type FittedInputs =
  | { readonly ok: true; readonly inputs: JsonObject; readonly json: string }
  | { readonly ok: false; readonly message: string };

/** Whose inputs they are: of a plugin or flow on the command line, or of a run or a tested task in a program. */
export type InputSubject = 'plugin' | 'flow' | 'run' | 'task';

/** The text of the inputs as the plugin gets them: declared types, defaults left out. */
export function fitInputs(
  given: JsonObject,
  declared: Readonly<Record<string, InputDeclaration>>,
  subject: InputSubject,
): FittedInputs {
  const names = Object.keys(declared);
  const problems: string[] = [];
  const fitted: [string, Json][] = [];
  for (const [name, value] of Object.entries(given)) {
    const declaration = Object.hasOwn(declared, name) ? declared[name] : undefined;
    if (declaration === undefined) {
      problems.push(unknownInput(subject, name, names));
      continue;
    }
    const typed = coerceValue(value, declaration.type);
    if (typed === undefined) problems.push(`input ${name} must be ${phrase(declaration.type)}, but is ${shown(value)}`);
    else fitted.push([name, typed]);
  }
  for (const [name, { type, required, default: preset }] of Object.entries(declared)) {
    if (required && preset === undefined && !Object.hasOwn(given, name)) {
      problems.push(`input ${name} (${type}) is required; ${howToGive(subject, name)}`);
    }
  }
  if (problems.length > 0) return { ok: false, message: problems.join('\n') };
  const inputs = Object.fromEntries(fitted);
  const json = JSON.stringify(inputs);
  const bytes = Buffer.byteLength(json);
  if (bytes <= MAX_INPUT_BYTES) return { ok: true, inputs, json };
  return { ok: false, message: `the inputs have ${bytes} bytes; at most ${MAX_INPUT_BYTES} are allowed` };
}

function howToGive(subject: InputSubject, name: string): string {
  const isProgram = subject === 'run' || subject === 'task';
  return isProgram ? `give it with { inputs: { ${name}: … } }` : `give it with --input ${name}=…`;
}

function unknownInput(subject: InputSubject, name: string, names: readonly string[]): string {
  const near = nearestName(name, names);
  const known = names.length === 0 ? 'it takes none' : `its inputs: ${names.join(', ')}`;
  return `the ${subject === 'run' ? 'flow' : subject} has no input ${showControls(name)}; ${near === undefined ? known : `did you mean ${near}?`}`;
}

function phrase(type: ValueType): string {
  switch (type) {
    case 'integer':
      return 'a whole number';
    case 'float':
      return 'a number';
    case 'boolean':
      return 'true or false';
    case 'string':
      return 'text';
    case 'json':
      return 'JSON';
  }
}

function shown(value: Json): string {
  const text = showControls(JSON.stringify(value));
  return text.length > MAX_SHOWN_CHARS ? `${text.slice(0, MAX_SHOWN_CHARS)}…` : text;
}
