/**
 * The secrets of an --env-file on their way to the sandbox host: NAME=value lines that stand in for the folder
 * SECRETS_DIR. They go to a host through a pipe that is read once at its start, so that they are in no environment, no
 * argument and no file of ours, and nothing is left of them after any kind of end.
 */
import { readFile } from 'node:fs/promises';
import { parseEnv } from 'node:util';
import { z } from 'zod';
import { FlowopsError, messageOf } from './errors.ts';
import { parseJson } from './json.ts';

/** Of one secret: a certificate chain with its key fits many times. */
export const MAX_SECRET_BYTES = 64 * 1024;
const MAX_SECRETS = 1_000;
/** Of the file, and of what goes through the pipe. */
export const MAX_SECRETS_TEXT_BYTES = 4 * 1024 * 1024;
/** Also a file name without tricks: no separator, no leading dot. As Kubernetes names the keys of a Secret. */
const NAME = /^(?!__proto__$)[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

export function isSecretName(name: string): boolean {
  return NAME.test(name);
}

const valuesSchema = z.record(z.string().regex(NAME), z.string().max(MAX_SECRET_BYTES));

/** @throws FlowopsError USAGE_INVALID that names the file and no value. */
export async function readEnvFile(file: string): Promise<ReadonlyMap<string, string>> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (thrown) {
    throw new FlowopsError('USAGE_INVALID', `--env-file ${file} cannot be read: ${messageOf(thrown)}`);
  }
  if (Buffer.byteLength(text) > MAX_SECRETS_TEXT_BYTES) {
    throw new FlowopsError('USAGE_INVALID', `--env-file ${file} has more than ${MAX_SECRETS_TEXT_BYTES} bytes`);
  }
  const entries = Object.entries(parseEnv(text));
  if (entries.length > MAX_SECRETS) {
    throw new FlowopsError('USAGE_INVALID', `--env-file ${file} has more than ${MAX_SECRETS} lines`);
  }
  const values = new Map<string, string>();
  for (const [name, value] of entries) {
    if (value === undefined) continue;
    if (!isSecretName(name)) {
      throw new FlowopsError('USAGE_INVALID', `--env-file ${file}: a name is letters, digits, _ - and ., not ${name}`);
    }
    if (Buffer.byteLength(value) > MAX_SECRET_BYTES) {
      throw new FlowopsError('USAGE_INVALID', `--env-file ${file}: ${name} has more than ${MAX_SECRET_BYTES} bytes`);
    }
    values.set(name, value);
  }
  return values;
}

/** What a host is written on its standard input. */
export function formatSecrets(values: ReadonlyMap<string, string>): string {
  return JSON.stringify(Object.fromEntries(values));
}

/** @throws FlowopsError CONFIG_INVALID, without a word of the text, when it is none that `formatSecrets` made. */
export function parseSecrets(text: string): ReadonlyMap<string, string> {
  const parsed = parseJson(text);
  const checked = valuesSchema.safeParse(parsed.ok ? parsed.value : undefined);
  if (checked.success) return new Map(Object.entries(checked.data));
  throw new FlowopsError('CONFIG_INVALID', 'what stands on standard input is no set of secrets');
}
