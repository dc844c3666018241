/**
 * `@flowops/cli/engine` for a program outside the clone, as if the package were installed in its folder: a link to a
 * folder that gives this checkout's own sources, since Node runs no TypeScript under node_modules. Takes what a page of
 * the docs gives (`before`), too.
 */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { scratchFolder } from '../services/scratch.ts';
import { ROOT } from './clone.ts';

export async function linkCli({ folder }: { readonly folder: string }): Promise<undefined> {
  const linked = scratchFolder();
  const manifest = { name: '@flowops/cli', version: '0.1.0', type: 'module', exports: { './engine': './engine.ts' } };
  writeFileSync(join(linked, 'package.json'), JSON.stringify(manifest));
  const library = pathToFileURL(join(ROOT, 'bin', 'library.ts'));
  writeFileSync(join(linked, 'engine.ts'), `export * from ${JSON.stringify(library.href)};\n`);
  const packages = join(folder, 'node_modules', '@flowops');
  mkdirSync(packages, { recursive: true });
  symlinkSync(linked, join(packages, 'cli'), 'dir');
}
