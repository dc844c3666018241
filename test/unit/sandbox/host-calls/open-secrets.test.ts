import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { formatSecrets } from '../../../../proto/secret-values.ts';
import { openSecrets } from '../../../../sandbox/host-calls/open-secrets.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'open-secrets-'));
  await writeFile(path.join(folder, 'A'), 'of the folder');
});
afterAll(() => rm(folder, { recursive: true }));

const nothing = () => Readable.from([]);

it('a host has the secrets of SECRETS_DIR', async () => {
  const source = await openSecrets({ secretsDir: folder, secretsFromStdin: false }, nothing());
  expect(await source.read('A')).toEqual({ ok: true, value: 'of the folder' });
});

it('what comes over standard input stands in for the folder', async () => {
  const stdin = Readable.from([formatSecrets(new Map([['A', 'of the file']]))]);
  const source = await openSecrets({ secretsDir: folder, secretsFromStdin: true }, stdin);
  expect(await source.read('A')).toEqual({ ok: true, value: 'of the file' });
});

it('without either there are none', async () => {
  const source = await openSecrets({ secretsDir: undefined, secretsFromStdin: false }, nothing());
  expect((await source.read('A')).ok).toBe(false);
});

it.each([
  ['gone', () => path.join(folder, 'gone')],
  ['a file', () => path.join(folder, 'A')],
])('a SECRETS_DIR that is %s keeps a host from starting', async (_, secretsDir) => {
  const opening = openSecrets({ secretsDir: secretsDir(), secretsFromStdin: false }, nothing());
  await expect(opening).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(/^SECRETS_DIR/),
  });
});

it.each(['', '{', '{"A":1}'])('standard input that holds %j keeps a host from starting', async (text) => {
  await expect(openSecrets({ secretsDir: undefined, secretsFromStdin: true }, Readable.from([text]))).rejects.toThrow();
});
