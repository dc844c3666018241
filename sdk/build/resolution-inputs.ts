/**
 * What besides the sources decides the bytes of a build: the package.json files that say which file of a package is
 * taken, the bundler's own version, and the places where a `@flowops/sdk` of the author would be preferred to ours.
 */
import { access } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { BuildInputs } from './build-cache.ts';
import { packageNameAt } from './source-names.ts';

const ESBUILD_PACKAGE = createRequire(import.meta.url).resolve('esbuild/package.json');

/** @param files real paths of the files in the bundle, the entry among them. */
export async function buildInputs(entry: string, files: readonly string[]): Promise<BuildInputs> {
  const manifests = new Set<string>();
  for (const file of files) {
    const owner = packageNameAt(file);
    if (owner !== undefined) manifests.add(path.join(owner.directory, 'package.json'));
  }
  const present = await existing([...manifests]);
  const sdkPlaces = ancestors(path.dirname(entry)).map((folder) => path.join(folder, 'node_modules/@flowops/sdk'));
  const sdkPresent = new Set(await existing(sdkPlaces));
  return {
    files: [...files, ...present, ESBUILD_PACKAGE],
    absent: sdkPlaces.filter((place) => !sdkPresent.has(place)),
  };
}

async function existing(paths: readonly string[]): Promise<string[]> {
  const found = await Promise.all(
    paths.map((file) =>
      access(file).then(
        () => true,
        () => false,
      ),
    ),
  );
  return paths.filter((_, index) => found[index] === true);
}

function ancestors(folder: string): string[] {
  const parent = path.dirname(folder);
  return parent === folder ? [folder] : [folder, ...ancestors(parent)];
}
