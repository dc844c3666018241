/**
 * Where the values of secrets come from: the files of SECRETS_DIR, read at each call so that a changed file counts at
 * once, or the lines of an --env-file, handed over when the host started. Never the environment.
 *
 * The folder may be one that Kubernetes mounts, where a file is a link to `..data/NAME`: links are followed, but what
 * they lead to must lie inside the folder.
 */
import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import path from 'node:path';
import { isSecretName, MAX_SECRET_BYTES } from '@flowops/proto/secret-values.ts';

export type ReadSecret =
  | { readonly ok: true; readonly value: string }
  /** One clause for a person; no host path. */
  | { readonly ok: false; readonly problem: string };

export interface SecretSource {
  /** Never rejects. */
  read(name: string): Promise<ReadSecret>;
}

export function noSecrets(): SecretSource {
  const problem = 'this sandbox has no secrets: set SECRETS_DIR, or give --env-file FILE';
  return { read: async () => ({ ok: false, problem }) };
}

export function givenSecrets(values: ReadonlyMap<string, string>): SecretSource {
  return {
    read: async (name) => {
      const value = values.get(name);
      if (value === undefined || value === '') {
        return { ok: false, problem: `the --env-file has no value for it; add a line ${name}=…` };
      }
      return { ok: true, value };
    },
  };
}

export function secretsFolder(folder: string): SecretSource {
  return {
    read: async (name) => {
      if (!isSecretName(name)) return failure('its name is none of a file: letters, digits, _ - . only');
      try {
        return await readInside(folder, name);
      } catch (thrown) {
        return failure(unread(name, codeOf(thrown)));
      }
    },
  };
}

async function readInside(folder: string, name: string): Promise<ReadSecret> {
  const root = await realpath(folder);
  const file = await realpath(path.join(root, name));
  if (!file.startsWith(root + path.sep)) return failure('its file is a link that leaves SECRETS_DIR');
  // A pipe or a device would keep the reader waiting; what was looked at is what is read.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await open(file, flags);
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) return failure('it is no regular file');
    const buffer = Buffer.alloc(MAX_SECRET_BYTES + 2);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    return readValue(buffer.subarray(0, bytesRead));
  } finally {
    await handle.close();
  }
}

/** Text of the bytes without the one line end that editors and `echo` add. */
function readValue(bytes: Buffer): ReadSecret {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return failure('its file is not UTF-8 text');
  }
  const value = text.replace(/\r?\n$/, '');
  if (Buffer.byteLength(value) > MAX_SECRET_BYTES) return failure(`its file has more than ${MAX_SECRET_BYTES} bytes`);
  return value === '' ? failure('its file is empty') : { ok: true, value };
}

function unread(name: string, code: string): string {
  if (code === 'ENOENT') return `SECRETS_DIR has no file ${name}`;
  if (code === 'EACCES')
    return `the sandbox host may not read its file ${name} in SECRETS_DIR; give its user the right to`;
  return `its file ${name} in SECRETS_DIR cannot be read (${code})`;
}

function failure(problem: string): ReadSecret {
  return { ok: false, problem };
}

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unknown error';
}
