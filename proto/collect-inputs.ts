/**
 * `--inputs FILE|-` and `--input name=value`, as they were given. What they mean is said by the declarations:
 * fit-inputs.ts. A wrong call (no JSON, no `=`) is thrown.
 */
import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { FlowopsError, messageOf } from './errors.ts';
import { MAX_INPUT_BYTES } from './fit-inputs.ts';
import { isJsonObject, type JsonObject, parseJson } from './json.ts';
import { showControls } from './terminal-text.ts';

export interface GivenInputs {
  /** `name=value`, in order; the last one of a name counts. */
  readonly pairs: readonly string[];
  /** A path, or `-` for standard input. `--input` goes over it. */
  readonly file: string | undefined;
}

/** @throws FlowopsError USAGE_INVALID */
export async function collectInputs({ pairs, file }: GivenInputs, stdin: Readable): Promise<JsonObject> {
  // No prototype: an input may be called anything.
  const inputs: JsonObject = Object.assign(
    Object.create(null),
    file === undefined ? {} : await readObject(file, stdin),
  );
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1) {
      throw new FlowopsError('USAGE_INVALID', `--input ${showControls(pair)}: write it as name=value`);
    }
    inputs[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return inputs;
}

async function readObject(file: string, stdin: Readable): Promise<JsonObject> {
  const where = file === '-' ? 'standard input' : file;
  const text = file === '-' ? await readStream(stdin) : await readText(file);
  const parsed = parseJson(text);
  if (!parsed.ok) throw new FlowopsError('USAGE_INVALID', `--inputs: ${where} is not JSON: ${parsed.problem}`);
  if (!isJsonObject(parsed.value)) {
    throw new FlowopsError('USAGE_INVALID', `--inputs: ${where} must hold one JSON object of input names and values`);
  }
  return parsed.value;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    throw new FlowopsError('USAGE_INVALID', `--inputs: ${file} cannot be read: ${messageOf(thrown)}`);
  }
}

async function readStream(stdin: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stdin) {
    const buffer = Buffer.from(chunk);
    bytes += buffer.length;
    if (bytes > MAX_INPUT_BYTES) {
      throw new FlowopsError('USAGE_INVALID', `--inputs: standard input has more than ${MAX_INPUT_BYTES} bytes`);
    }
    chunks.push(buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}
