/**
 * `@flowops/sdk` as it is packed: what an author imports, its tests' part and the plugin for vitest, with the files of
 * proto and the copy of zod that the tests' part needs. It depends on nothing; vitest and esbuild are the author's own.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../node24.mjs';
import { declarations } from './declarations.ts';
import { commonFields } from './manifest.ts';
import type { PackageFile, PackageFiles } from './tarball.ts';
import { packedPath, transpile, vendor } from './transpile.ts';

/** What the package exports, and the module of each. */
export const SDK_ENTRIES: Readonly<Record<string, string>> = {
  '.': 'sdk/index.ts',
  './testing': 'sdk/testing.ts',
  './vitest': 'sdk/vitest.ts',
};
/** Of an author's tests, as vitest has it; what runs the plugin itself brings its own Node. */
const OLDEST_NODE = '22.12';
const TARGET = `node${OLDEST_NODE}`;
/** Only a test of a class with decorators needs it. */
const PEERS: Readonly<Record<string, string>> = { esbuild: '>=0.27' };
/** What fits a test's inputs as the engine does. */
const VENDORED = { zod: 'vendor/zod.js' };

export async function sdkPackage(): Promise<PackageFiles> {
  const entries = Object.values(SDK_ENTRIES);
  const [code, types, zod] = await Promise.all([
    transpile({ entries, vendored: VENDORED, target: TARGET }),
    declarations(entries),
    vendor('zod'),
  ]);
  const foreign = [...code.packages, ...types.packages].filter((name) => PEERS[name] === undefined);
  if (foreign.length > 0) throw new Error(`the SDK has to do without ${foreign.join(', ')}`);
  const manifest = {
    name: '@flowops/sdk',
    description: 'Write plugins for FlowOps: typed inputs and outputs, a test of your own without a sandbox',
    ...commonFields(),
    engines: { node: `>=${OLDEST_NODE}` },
    exports: exportsOf(SDK_ENTRIES),
    peerDependencies: PEERS,
    peerDependenciesMeta: Object.fromEntries(Object.keys(PEERS).map((name) => [name, { optional: true }])),
  };
  return new Map<string, PackageFile>([
    ...[...code.files, ...types.files].map(([path, content]) => [path, { content }] as const),
    ['package.json', { content: `${JSON.stringify(manifest, null, 2)}\n` }],
    [VENDORED.zod, { content: zod.code }],
    [`${VENDORED.zod}.LICENSE`, { content: zod.license }],
    ['README.md', { content: readFileSync(join(import.meta.dirname, 'sdk-readme.md')) }],
    ['LICENSE', { content: readFileSync(join(ROOT, 'LICENSE')) }],
  ]);
}

/** The `exports` of a package.json. */
export function exportsOf(
  entries: Readonly<Record<string, string>>,
): Record<string, { types: string; default: string }> {
  return Object.fromEntries(
    Object.entries(entries).map(([name, file]) => {
      const path = `./${packedPath(file)}`;
      return [name, { types: path.replace(/\.js$/, '.d.ts'), default: path }];
    }),
  );
}
