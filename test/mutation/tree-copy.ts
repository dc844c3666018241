/**
 * A copy of the sources in a temporary folder, to be broken on purpose: what simulations and chaos scenarios need, with
 * packages by link and our own parts by link into the copy, so that nothing of the copy loads the original.
 *
 * An edit replaces a text that is there exactly once; a text that is gone or ambiguous is an error that says what to do,
 * so that no mutation can silently become none.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { ROOT } from '../support/clone.ts';

const PARTS = ['engine', 'proto', 'sandbox', 'sdk'];
const FOLDERS = [...PARTS, 'bin', 'test'];
const FILES = ['package.json', 'tsconfig.json', 'vitest.config.ts'];
/** Nothing of these is read by what runs in a copy. */
const LEFT_OUT = new Set(['node_modules', '.cache', 'bench', 'e2e', 'integration', 'adversarial', 'unit']);
const OWN_SCOPE = '@flowops';

export interface Edit {
  /** From the root of the clone. */
  readonly file: string;
  /** There exactly once. */
  readonly find: string;
  readonly put: string;
}

export interface TreeCopy {
  readonly root: string;
  /** @throws when a text is not there exactly once. */
  edit(edits: readonly Edit[]): void;
  remove(): void;
}

export function copyTree(): TreeCopy {
  const root = scratchFolder();
  for (const folder of FOLDERS) {
    const filter = (source: string) => !LEFT_OUT.has(basename(source));
    cpSync(join(ROOT, folder), join(root, folder), { recursive: true, filter });
  }
  for (const file of FILES) cpSync(join(ROOT, file), join(root, file));
  linkPackages(root);
  return {
    root,
    edit: (edits) => {
      for (const edit of edits) applyEdit(root, edit);
    },
    remove: () => removeFolder(root),
  };
}

function applyEdit(root: string, { file, find, put }: Edit): void {
  const path = join(root, file);
  const text = readFileSync(path, 'utf8');
  const count = text.split(find).length - 1;
  if (count !== 1) {
    throw new Error(
      `${file} holds this text ${count} times, it must be there once. The code has changed: ` +
        `give the mutation the text that does the same now.\n${find}`,
    );
  }
  writeFileSync(
    path,
    text.replace(find, () => put),
  );
}

function linkPackages(root: string): void {
  const from = join(ROOT, 'node_modules');
  const to = join(root, 'node_modules');
  mkdirSync(join(to, OWN_SCOPE), { recursive: true });
  for (const name of readdirSync(from)) if (name !== OWN_SCOPE) symlinkSync(join(from, name), join(to, name));
  for (const part of PARTS) symlinkSync(join(root, part), join(to, OWN_SCOPE, part));
}
