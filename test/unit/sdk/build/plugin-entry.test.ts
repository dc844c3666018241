import { symlinkSync } from 'node:fs';
import path from 'node:path';
import { findPluginEntry, isPluginFileName } from '@flowops/sdk/build/plugin-entry.ts';
import { describe, expect, it } from 'vitest';
import { sourceTree } from '../../../support/source-tree.ts';

async function entryOf(files: Record<string, string>, source = '.'): Promise<string> {
  const folder = sourceTree(files);
  const entry = await findPluginEntry(path.join(folder, source));
  return entry.ok ? path.relative(folder, entry.file) : `${entry.code}: ${entry.message.replaceAll(folder, '.')}`;
}

describe('the plugin of a folder', () => {
  it('is what "main" of package.json names, before everything else', async () => {
    expect(
      await entryOf({ 'package.json': '{"main":"src/task.ts"}', 'src/task.ts': '', 'index.ts': '', 'other.ts': '' }),
    ).toBe('src/task.ts');
  });

  it('is its index file, TypeScript first', async () => {
    expect(await entryOf({ 'index.js': '', 'index.ts': '', 'a.ts': '' })).toBe('index.ts');
  });

  it('is the only file that is no test, configuration or declaration', async () => {
    const files = { 'task.ts': '', 'task.test.ts': '', 'vitest.config.ts': '', 'types.d.ts': '', 'README.md': '' };
    expect(await entryOf(files)).toBe('task.ts');
  });

  it('is asked for when several files could be it', async () => {
    expect(await entryOf({ 'b.ts': '', 'a.js': '' })).toMatch(
      /^PLUGIN_NOT_FOUND: \. holds 2 files that could be the plugin \(a\.js, b\.ts\)\. Name one of them/,
    );
  });

  it('is missing where the folder holds none, or "main" leads nowhere', async () => {
    expect(await entryOf({ 'README.md': '' })).toMatch(/^PLUGIN_NOT_FOUND: .* holds no \.ts or \.js file/);
    expect(await entryOf({ 'package.json': '{"main":"dist/x.js"}', 'a.ts': '' })).toMatch(/"main" names dist\/x\.js/);
  });

  it('is found beside a package.json that is broken or has no main', async () => {
    expect(await entryOf({ 'package.json': '{', 'a.ts': '' })).toBe('a.ts');
    expect(await entryOf({ 'package.json': '{"name":"x"}', 'a.ts': '' })).toBe('a.ts');
  });
});

describe('the plugin of a path', () => {
  it('is its real file, so that a link has the build of what it points to', async () => {
    const folder = sourceTree({ 'real/task.ts': '' });
    symlinkSync(path.join(folder, 'real/task.ts'), path.join(folder, 'link.ts'));
    expect(await findPluginEntry(path.join(folder, 'link.ts'))).toMatchObject({
      file: path.join(folder, 'real/task.ts'),
    });
  });

  it('is a bundle when its first bytes say so, whatever its name', async () => {
    const folder = sourceTree({ 'a.js': '//! flowops-plugin {}\n', 'b.js': '//! flowops' });
    expect(await findPluginEntry(path.join(folder, 'a.js'))).toMatchObject({ isBundle: true });
    expect(await findPluginEntry(path.join(folder, 'b.js'))).toMatchObject({ isBundle: false });
  });

  it('is told as missing, no source or no plugin', async () => {
    expect(await entryOf({}, 'gone.ts')).toBe('PLUGIN_NOT_FOUND: ./gone.ts: there is no such file or folder');
    expect(await entryOf({ 'a.txt': '' }, 'a.txt')).toMatch(/a plugin is a \.ts or \.js file/);
    expect(await entryOf({ 'a.test.ts': '' }, 'a.test.ts')).toMatch(/is a test, a configuration or a declaration/);
  });
});

describe('names of plugin files', () => {
  it('are .ts and .js, but for tests, configurations, declarations and hidden files', () => {
    for (const name of ['a.ts', 'a.js', 'a.mts', 'a.mjs', 'contest.ts']) expect(isPluginFileName(name)).toBe(true);
    for (const name of ['a.test.ts', 'a.spec.js', 'vite.config.mjs', 'a.d.ts', 'a.d.mts', '.a.ts', 'a.json', 'a.tsx']) {
      expect(isPluginFileName(name)).toBe(false);
    }
  });
});
