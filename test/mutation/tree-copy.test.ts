/** What the mutations stand on: a copy that is whole, and edits that cannot miss without saying so. */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../support/clone.ts';
import { copyTree } from './tree-copy.ts';

const FILE = 'engine/commands/offset-tracker.ts';
const FIND = 'export class OffsetTracker {';

it('leaves the original as it is, and gives the copy its own parts', () => {
  const original = readFileSync(join(ROOT, FILE), 'utf8');
  const copy = copyTree();
  copy.edit([{ file: FILE, find: FIND, put: 'export class Broken$& {' }]);
  // Replaced as it is written: `$&` means nothing in it.
  expect(readFileSync(join(copy.root, FILE), 'utf8')).toBe(original.replace(FIND, () => 'export class Broken$& {'));
  expect(readFileSync(join(ROOT, FILE), 'utf8')).toBe(original);
  expect(realpathSync(join(copy.root, 'node_modules', '@flowops', 'engine'))).toBe(
    join(realpathSync(copy.root), 'engine'),
  );
  copy.remove();
  expect(existsSync(copy.root)).toBe(false);
});

it('refuses a text that is not there, and one that is there twice, and names file and text', () => {
  const copy = copyTree();
  const edit = (find: string) => () => copy.edit([{ file: FILE, find, put: '' }]);
  expect(edit('no such text')).toThrow(/offset-tracker\.ts holds this text 0 times.*\nno such text/);
  expect(edit('readonly #')).toThrow(/offset-tracker\.ts holds this text \d+ times, it must be there once/);
  copy.remove();
});
