/** What a package.json of ours says in the clone, and what of it a packed one takes over. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { ROOT } from '../node24.mjs';
import { OWN_PARTS } from './transpile.ts';

const manifestSchema = z.looseObject({
  version: z.string(),
  license: z.string(),
  dependencies: z.record(z.string(), z.string()).default({}),
  devDependencies: z.record(z.string(), z.string()).default({}),
});

function readManifest(part: string): z.output<typeof manifestSchema> {
  return manifestSchema.parse(JSON.parse(readFileSync(join(ROOT, part, 'package.json'), 'utf8')));
}

/** What every package of ours says of itself. */
export function commonFields(): { version: string; license: string; type: 'module'; engines: { node: string } } {
  const { version, license } = readManifest('.');
  // As bin/node24.mjs has it: isolated-vm has no build for a later major release.
  return { version, license, type: 'module', engines: { node: '>=24.15 <25' } };
}

/** The exact versions that the parts ask for. Throws for a name that none of them has. */
export function versionsOf(names: Iterable<string>): Record<string, string> {
  const known = Object.assign({}, ...['.', ...OWN_PARTS].map((part) => readManifest(part).dependencies));
  const versions = z.record(z.string(), z.string()).parse(known);
  return Object.fromEntries(
    [...names].sort().map((name) => {
      const version = versions[name];
      if (version === undefined) throw new Error(`${name} is imported, and no package.json of ours has it`);
      return [name, version];
    }),
  );
}
