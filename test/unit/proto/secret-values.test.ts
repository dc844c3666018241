import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatSecrets, isSecretName, parseSecrets, readEnvFile } from '../../../proto/secret-values.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'env-file-test-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function fileOf(text: string): Promise<string> {
  const file = path.join(folder, 'secrets.env');
  await writeFile(file, text);
  return file;
}

describe('an --env-file', () => {
  it('is read as such files are', async () => {
    const values = await readEnvFile(await fileOf('# mine\nA=1\nexport B="two words"\nC=\'a\nb\'\n\nEMPTY=\n'));
    expect(Object.fromEntries(values)).toEqual({ A: '1', B: 'two words', C: 'a\nb', EMPTY: '' });
  });

  it('that cannot be used is named, and none of its values is', async () => {
    const large = await fileOf(`HUSH=${'hush'.repeat(20_000)}`);
    await expect(readEnvFile(large)).rejects.toThrow(/HUSH has more than 65536 bytes/);
    await expect(readEnvFile(large)).rejects.not.toThrow(/hush/);
    await expect(readEnvFile(path.join(folder, 'gone.env'))).rejects.toMatchObject({ code: 'USAGE_INVALID' });
    await expect(readEnvFile(await fileOf('a/b=1'))).rejects.toThrow(/a name is letters/);
  });
});

it('values come through the pipe as they were', () => {
  const name = fc.string({ minLength: 1, maxLength: 10 }).filter(isSecretName);
  fc.assert(
    fc.property(fc.array(fc.tuple(name, fc.string({ unit: 'binary' }))), (entries) => {
      const values = new Map(entries);
      expect(parseSecrets(formatSecrets(values))).toEqual(values);
    }),
  );
});

it.each(['', '{', '[]', '{"a":1}', '{"../x":"1"}', '"hush', '{"A":"hush"'])(
  '%j is refused by the host, and none of it is told',
  (text) => {
    expect(() => parseSecrets(text)).toThrow(/^what stands on standard input is no set of secrets$/);
  },
);
