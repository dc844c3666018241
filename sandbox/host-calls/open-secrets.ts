/** Picks the source of secrets of a host, once at its start. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { MAX_SECRETS_TEXT_BYTES, parseSecrets } from '@flowops/proto/secret-values.ts';
import type { SandboxConfig } from '../config.ts';
import { givenSecrets, noSecrets, type SecretSource, secretsFolder } from './secret-source.ts';

/** JSON escapes a character with six bytes at most. */
const MAX_STDIN_BYTES = 6 * MAX_SECRETS_TEXT_BYTES;

/** @throws FlowopsError CONFIG_INVALID when SECRETS_DIR is no folder that can be read. */
export async function openSecrets(
  { secretsDir, secretsFromStdin }: Pick<SandboxConfig, 'secretsDir' | 'secretsFromStdin'>,
  stdin: Readable,
): Promise<SecretSource> {
  if (secretsFromStdin) return givenSecrets(parseSecrets(await readAll(stdin)));
  if (secretsDir === undefined) return noSecrets();
  const folder = path.resolve(secretsDir);
  const stats = await stat(folder).catch(() => undefined);
  if (stats?.isDirectory() !== true) {
    throw new FlowopsError(
      'CONFIG_INVALID',
      `SECRETS_DIR must be a folder that the sandbox host can read, not ${secretsDir}`,
    );
  }
  return secretsFolder(folder);
}

async function readAll(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    const part = Buffer.from(chunk);
    bytes += part.length;
    if (bytes > MAX_STDIN_BYTES) throw new FlowopsError('CONFIG_INVALID', 'the secrets on standard input are too many');
    chunks.push(part);
  }
  return Buffer.concat(chunks).toString('utf8');
}
