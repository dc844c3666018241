import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { absentPackages, isNode24, missingPackages } from '../../../bin/node24.mjs';
import { withLock } from '../../../bin/setup-lock.mjs';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'flowops-setup-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, content: unknown): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), typeof content === 'string' ? content : JSON.stringify(content));
}

describe('the Node that is taken', () => {
  it.each(['24.15.0', 'v24.21.0', '24.100.1'])('%s is one', (version) => {
    expect(isNode24(version)).toBe(true);
  });
  it.each(['18.20.0', 'v20.20.2', '24.0.0', '24.14.9', '25.1.0', '26.0.0', '', 'nonsense'])('%s is none', (version) => {
    expect(isNode24(version)).toBe(false);
  });
});

describe('the packages that are missing', () => {
  const packages = {
    '': { name: 'root' },
    engine: { name: '@x/engine' },
    'node_modules/@x/engine': { resolved: 'engine', link: true },
    'node_modules/a': { version: '1.0.0' },
    'node_modules/b': { version: '2.0.0', dev: true },
    'node_modules/for-windows': { version: '1.0.0', optional: true },
    'node_modules/a/node_modules/c': { version: '3.0.0' },
  };

  it('are all of the lock file in a bare clone, without those for other machines', () => {
    write('package-lock.json', { packages });
    expect(missingPackages({ dev: false, root })).toEqual(['@x/engine@link', 'a@1.0.0', 'c@3.0.0']);
    expect(missingPackages({ dev: true, root })).toEqual(['@x/engine@link', 'a@1.0.0', 'b@2.0.0', 'c@3.0.0']);
  });

  it('are those of another version and those whose folder is gone, too', () => {
    write('package-lock.json', { packages });
    write('node_modules/.package-lock.json', {
      packages: { ...packages, 'node_modules/a': { version: '0.9.0' } },
    });
    for (const path of ['@x/engine', 'a', 'b']) write(`node_modules/${path}/package.json`, {});
    expect(missingPackages({ dev: true, root })).toEqual(['a@1.0.0', 'c@3.0.0']);
  });

  it('are none when npm installed what the lock file says', () => {
    write('package-lock.json', { packages });
    write('node_modules/.package-lock.json', { packages });
    for (const path of ['@x/engine', 'a', 'b', 'a/node_modules/c']) write(`node_modules/${path}/package.json`, {});
    expect(missingPackages({ dev: true, root })).toEqual([]);
  });

  it('at a start are what the workspaces ask for and is not there', () => {
    write('package.json', { workspaces: ['engine'], dependencies: { commander: '1' } });
    write('engine/package.json', { dependencies: { zod: '1', commander: '1' } });
    expect(absentPackages(root)).toEqual(['commander', 'zod']);
    write('node_modules/commander/package.json', {});
    write('engine/node_modules/zod/package.json', {});
    expect(absentPackages(root)).toEqual([]);
  });
});

describe('two set-ups at a time', () => {
  it('go one after the other, and the second one says whom it waits for', async () => {
    const lock = join(root, '.cache', 'setup.lock');
    const events: string[] = [];
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const first = withLock(
      lock,
      () => {},
      async () => {
        await held;
        events.push('first done');
      },
    );
    const told = (line: string): void => {
      events.push(line);
      release();
    };
    const second = withLock(lock, told, async () => events.push('second done'));
    await Promise.all([first, second]);
    expect(events).toEqual([expect.stringContaining(`process ${process.pid}`), 'first done', 'second done']);
    expect(existsSync(lock)).toBe(false);
  });

  it('do not wait for one that died', async () => {
    const lock = join(root, '.cache', 'setup.lock');
    // Above the largest pid of any system we run on.
    write('.cache/setup.lock', String(2 ** 30));
    const said: string[] = [];
    expect(
      await withLock(
        lock,
        (line: string) => said.push(line),
        async () => 'done',
      ),
    ).toBe('done');
    expect(said).toEqual([]);
  });

  it('free the lock when the work fails', async () => {
    const lock = join(root, '.cache', 'setup.lock');
    const failing = withLock(
      lock,
      () => {},
      async () => {
        throw new Error('no network');
      },
    );
    await expect(failing).rejects.toThrow('no network');
    expect(existsSync(lock)).toBe(false);
  });
});
