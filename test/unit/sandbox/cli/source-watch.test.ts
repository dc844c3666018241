/** File events as `sandbox run --watch` gets them, from a real folder. */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SourceWatch } from '@flowops/sandbox/cli/source-watch.ts';
import { describe, expect, onTestFinished, test } from 'vitest';
import { sourceTree, writeSource } from '../../../support/source-tree.ts';

const SETTLE_MS = 20;
const never = new AbortController().signal;

interface Watched {
  readonly folder: string;
  readonly watch: SourceWatch;
}

/** A folder that is followed, and has told that it is new. */
async function watched(files: readonly string[] = ['plugin.ts']): Promise<Watched> {
  const folder = sourceTree({ 'plugin.ts': '1', 'lib/part.ts': '1', 'other/far.ts': '1' });
  const watch = new SourceWatch(SETTLE_MS);
  onTestFinished(() => watch.close());
  watch.follow(files.map((file) => join(folder, file)));
  expect(await watch.next(never)).toEqual([]);
  return { folder, watch };
}

describe('a watch of sources', () => {
  test('tells a file that was written, and one that was replaced by a rename', async () => {
    const { folder, watch } = await watched();
    writeFileSync(join(folder, 'plugin.ts'), '2');
    expect(await watch.next(never)).toContain('plugin.ts');
    writeFileSync(join(folder, '.plugin.ts.swp'), '3');
    renameSync(join(folder, '.plugin.ts.swp'), join(folder, 'plugin.ts'));
    expect(await watch.next(never)).toContain('plugin.ts');
  });

  test('tells a file that appears beside it and can be imported, and no other', async () => {
    const { folder, watch } = await watched();
    for (const name of ['plugin.ts~', 'notes.md', '4913']) writeFileSync(join(folder, name), 'x');
    writeFileSync(join(folder, 'greeting.ts'), 'x');
    expect(await watch.next(never)).toEqual(['greeting.ts']);
  });

  test('follows the folders of all files it is given, and forgets those of before', async () => {
    const { folder, watch } = await watched(['plugin.ts', 'other/far.ts']);
    watch.follow([join(folder, 'plugin.ts'), join(folder, 'lib/part.ts')]);
    expect(await watch.next(never)).toEqual([]); // lib is new
    writeSource(folder, 'other/far.ts', '2');
    writeSource(folder, 'lib/part.ts', '2');
    expect(await watch.next(never)).toEqual(['part.ts']);
  });

  test('a change between two waits is told by the next one', async () => {
    const { folder, watch } = await watched();
    writeFileSync(join(folder, 'plugin.ts'), '2');
    await watch.next(never);
    rmSync(join(folder, 'plugin.ts'));
    writeFileSync(join(folder, 'plugin.ts'), '3');
    expect(await watch.next(never)).toContain('plugin.ts');
  });

  test('ends its wait at an abort, and after it', async () => {
    const { watch } = await watched();
    const abort = new AbortController();
    const waiting = watch.next(abort.signal);
    abort.abort();
    expect(await waiting).toEqual([]);
    expect(await watch.next(abort.signal)).toEqual([]);
  });

  test('of a folder that cannot be watched is a problem with its name', () => {
    const watch = new SourceWatch(SETTLE_MS);
    expect(() => watch.follow(['/gone/plugin.ts'])).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining('/gone cannot be watched') }),
    );
  });
});
