import { chmod, lstat, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { prepareJailRoot } from '../../../../sandbox/isolate/jail-root.ts';

const uid = process.getuid?.() ?? 0;
let place: string;
let source: string;

beforeEach(async () => {
  place = await mkdtemp(path.join(tmpdir(), 'jail-root-test-'));
  source = path.join(place, 'source.txt');
  await writeFile(source, 'content', { mode: 0o600 });
});
afterEach(async () => {
  await rm(place, { recursive: true, force: true });
});

const prepare = async () => {
  const root = await prepareJailRoot({ files: [{ source, target: '/app/file.txt' }], binaries: [], places: [place] });
  if (!root.ok) throw new Error(root.problem);
  return root;
};

describe.runIf(process.platform === 'linux')('the root folder of a jail', () => {
  it('holds exactly the files that were named, readable by every uid', async () => {
    const { root } = await prepare();
    const file = path.join(root, 'app/file.txt');
    expect(await readFile(file, 'utf8')).toBe('content');
    expect((await stat(file)).mode & 0o777).toBe(0o444);
    expect((await stat(path.join(root, 'app'))).mode & 0o777).toBe(0o755);
  });

  it('is kept for the next start, and made anew for other content', async () => {
    const first = await prepare();
    expect((await prepare()).root).toBe(first.root);
    await writeFile(source, 'other content');
    expect((await prepare()).root).not.toBe(first.root);
  });

  it('is made again when somebody cleaned files away', async () => {
    const { root } = await prepare();
    await rm(path.join(root, 'app/file.txt'));
    expect((await prepare()).root).toBe(root);
    expect(await readFile(path.join(root, 'app/file.txt'), 'utf8')).toBe('content');
  });

  it('is never made in a folder that others can write to', async () => {
    const squatted = path.join(place, `flowops-sandbox-${uid}`);
    await mkdir(squatted);
    await chmod(squatted, 0o777);
    const prepared = await prepare();
    expect(prepared.root.startsWith(`${squatted}/`)).toBe(false);
    await prepared.dispose();
    await expect(lstat(prepared.root)).rejects.toThrow(/ENOENT/);
  });

  it('is never made through a link that somebody left there', async () => {
    const elsewhere = path.join(place, 'elsewhere');
    await mkdir(elsewhere);
    await symlink(elsewhere, path.join(place, `flowops-sandbox-${uid}`));
    const prepared = await prepare();
    expect(prepared.root).not.toContain(`flowops-sandbox-${uid}/`);
    await prepared.dispose();
  });
});
