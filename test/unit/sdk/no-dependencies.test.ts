/** What an author imports of the SDK needs no package at run time; the tools around it (build, registry) are not part of it. */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';

interface Reached {
  /** Names of packages whose files go in. */
  readonly packages: readonly string[];
  /** Modules that stay imports. */
  readonly imports: readonly string[];
}

async function reach(name: string): Promise<Reached> {
  const { metafile } = await build({
    entryPoints: [fileURLToPath(new URL(`../../../sdk/${name}`, import.meta.url))],
    outfile: 'out.js',
    write: false,
    bundle: true,
    metafile: true,
    format: 'esm',
    platform: 'node',
    external: ['esbuild'],
    logLevel: 'silent',
  });
  const packages = Object.keys(metafile.inputs).flatMap(
    (file) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? [],
  );
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports.map(({ path }) => path));
  return { packages: [...new Set(packages)].sort(), imports: [...new Set(imports)].sort() };
}

describe('the SDK', () => {
  it('is imported by a plugin without any package and without Node', async () => {
    expect(await reach('index.ts')).toEqual({ packages: [], imports: [] });
  });

  it('lowers decorators by the esbuild of the author, asked for when it is needed', async () => {
    expect(await reach('vitest.ts')).toEqual({ packages: [], imports: ['esbuild'] });
  });

  it('tests tasks with Node alone, and with the one package that is packed into it', async () => {
    const { packages, imports } = await reach('testing.ts');
    expect(packages).toEqual(['zod']);
    expect(imports.filter((name) => !name.startsWith('node:'))).toEqual([]);
  });
});
