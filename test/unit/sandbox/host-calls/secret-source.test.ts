import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { givenSecrets, noSecrets, secretsFolder } from '../../../../sandbox/host-calls/secret-source.ts';

let base: string;
let folder: string;
beforeEach(async () => {
  base = await mkdtemp(path.join(tmpdir(), 'secrets-test-'));
  folder = path.join(base, 'secrets');
  await mkdir(folder);
});
afterEach(() => rm(base, { recursive: true }));

const put = (name: string, text: string | Uint8Array) => writeFile(path.join(folder, name), text);

describe('a folder of secrets', () => {
  it('gives the text of a file without its last line end, as it is at each call', async () => {
    const source = secretsFolder(folder);
    await put('A', 'one\ntwo\n\n');
    expect(await source.read('A')).toEqual({ ok: true, value: 'one\ntwo\n' });
    await put('A', 'changed\r\n');
    expect(await source.read('A')).toEqual({ ok: true, value: 'changed' });
  });

  it('reads what Kubernetes mounts: links inside the folder, exchanged at once', async () => {
    const source = secretsFolder(folder);
    for (const version of ['..1', '..2']) {
      await mkdir(path.join(folder, version));
      await writeFile(path.join(folder, version, 'TOKEN'), `value of ${version}`);
    }
    await symlink('..1', path.join(folder, '..data'));
    await symlink('..data/TOKEN', path.join(folder, 'TOKEN'));
    expect(await source.read('TOKEN')).toEqual({ ok: true, value: 'value of ..1' });
    await symlink('..2', path.join(folder, '..tmp'));
    await rename(path.join(folder, '..tmp'), path.join(folder, '..data'));
    expect(await source.read('TOKEN')).toEqual({ ok: true, value: 'value of ..2' });
  });

  it('does not follow a link that leaves it', async () => {
    await writeFile(path.join(base, 'outside'), 'not yours');
    await mkdir(path.join(base, 'secrets-2'));
    await writeFile(path.join(base, 'secrets-2', 'x'), 'not yours');
    await symlink('../outside', path.join(folder, 'A'));
    await symlink('../secrets-2/x', path.join(folder, 'B'));
    await symlink('/etc/hostname', path.join(folder, 'C'));
    for (const name of ['A', 'B', 'C']) {
      expect(await secretsFolder(folder).read(name)).toMatchObject({
        ok: false,
        problem: expect.stringMatching(/leaves/),
      });
    }
  });

  it.each(['../outside', '..', '.', '.hidden', 'a/b', '/etc/passwd', 'a\0b', '', 'a\\b', 'x'.repeat(129), 'é'])(
    'has no file named %j',
    async (name) => {
      await writeFile(path.join(base, 'outside'), 'not yours');
      expect((await secretsFolder(folder).read(name)).ok).toBe(false);
    },
  );

  it('says what is wrong with a file, without its path', async () => {
    await put('EMPTY', '\n');
    await put('BIG', 'x'.repeat(64 * 1024 + 1));
    await put('BINARY', Buffer.from([0xff, 0xfe, 0x80]));
    await mkdir(path.join(folder, 'FOLDER'));
    await put('FITS', `${'x'.repeat(64 * 1024)}\n`);
    execFileSync('mkfifo', [path.join(folder, 'PIPE')]);
    const source = secretsFolder(folder);
    const problems = {
      GONE: /has no file GONE/,
      EMPTY: /empty/,
      BIG: /65536 bytes/,
      BINARY: /UTF-8/,
      FOLDER: /no regular file/,
      PIPE: /no regular file/,
    };
    for (const [name, problem] of Object.entries(problems)) {
      const read = await source.read(name);
      expect(read).toEqual({ ok: false, problem: expect.stringMatching(problem) });
      expect(JSON.stringify(read)).not.toContain(base);
    }
    expect((await source.read('FITS')).ok).toBe(true);
  });
});

describe('secrets of an --env-file', () => {
  it('are given by name, and a missing one says which line to add', async () => {
    const source = givenSecrets(
      new Map([
        ['A', 'x'],
        ['B', ''],
      ]),
    );
    expect(await source.read('A')).toEqual({ ok: true, value: 'x' });
    expect(await source.read('GONE')).toEqual({ ok: false, problem: expect.stringContaining('add a line GONE=…') });
    expect((await source.read('B')).ok).toBe(false);
  });
});

it('a host without secrets says how to give it some', async () => {
  expect(await noSecrets().read('A')).toEqual({ ok: false, problem: expect.stringMatching(/SECRETS_DIR.*--env-file/) });
});
