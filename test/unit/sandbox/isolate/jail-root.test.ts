import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { prepareJailRoot } from '../../../../sandbox/isolate/jail-root.ts';

const uid = process.getuid?.() ?? 0;
let place: string;
let source: string;

beforeEach(async () => {
  place = await mkdtemp(path.join(tmpdir(), 'jail-root-test-'));
  await chmod(place, 0o755);
  source = path.join(place, 'source.txt');
  await writeFile(source, 'content', { mode: 0o600 });
});
afterEach(async () => {
  await rm(place, { recursive: true, force: true });
});

const prepare = async (identity?: string) => {
  const file = { source, target: '/app/file.txt', ...(identity === undefined ? {} : { identity }) };
  const root = await prepareJailRoot({ files: [file], binaries: [], places: [place] });
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

  it('is the same for a file that is known by more than its time, whenever that was touched', async () => {
    const first = await prepare('v1');
    await utimes(source, new Date(), new Date(Date.now() - 60_000));
    expect((await prepare('v1')).root).toBe(first.root);
    expect((await prepare('v2')).root).not.toBe(first.root);
  });

  it('is never taken from under a host that has it, whoever else prepares the same at that time', async () => {
    const inodes = new Set<number>();
    const starts = Array.from({ length: 12 }, async () => {
      const { root } = await prepare();
      inodes.add((await lstat(root)).ino);
      expect(await readFile(path.join(root, 'app/file.txt'), 'utf8')).toBe('content');
    });
    await Promise.all(starts);
    expect(inodes.size).toBe(1);
    const left = await readdir(path.join(place, `flowops-sandbox-${uid}`));
    expect(left.filter((name) => name.includes('.tmp'))).toEqual([]);
  });

  it.runIf(uid === 0)(
    'is never made where other users cannot get through, and the answer names that folder',
    async () => {
      await chmod(place, 0o700);
      const below = path.join(place, 'below');
      await mkdir(below);
      await chmod(below, 0o755);
      const files = [{ source, target: '/app/file.txt' }];
      const refused = await prepareJailRoot({ files, binaries: [], places: [below] });
      expect(refused).toMatchObject({
        ok: false,
        problem: expect.stringContaining(`${place} does not let other users`),
      });
      const open = await mkdtemp(path.join(tmpdir(), 'jail-root-test-'));
      await chmod(open, 0o755);
      const moved = await prepareJailRoot({ files, binaries: [], places: [below, open] });
      expect(moved).toMatchObject({ ok: true, root: expect.stringContaining(open) });
      await rm(open, { recursive: true });
    },
  );

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
