/** The files of isolated-vm that a worker needs beside itself: its entry, its loader and the build for this machine. */
import { createRequire } from 'node:module';
import path from 'node:path';

export interface AddonFiles {
  /** `name`: below `node_modules`. */
  readonly files: readonly { readonly source: string; readonly name: string }[];
  /** Those of them whose shared libraries are needed too. */
  readonly binaries: readonly string[];
}

export function isolatedVmFiles(): AddonFiles {
  const require = createRequire(import.meta.url);
  const folder = path.dirname(require.resolve('isolated-vm/package.json'));
  const loaderPackage = createRequire(path.join(folder, 'isolated-vm.js')).resolve('node-gyp-build/package.json');
  const loader = path.dirname(loaderPackage);
  const addon = addonFile(folder, loader);
  const of = (base: string, name: string, file: string) => ({
    source: path.resolve(base, file),
    name: path.join(name, path.relative(base, path.resolve(base, file))),
  });
  return {
    files: [
      ...['isolated-vm.js', 'package.json', addon].map((file) => of(folder, 'isolated-vm', file)),
      ...['index.js', 'node-gyp-build.js', 'package.json'].map((file) => of(loader, 'node-gyp-build', file)),
    ],
    binaries: [addon],
  };
}

function addonFile(folder: string, loader: string): string {
  const loaded: unknown = createRequire(import.meta.url)(loader);
  if (typeof loaded === 'function' && 'path' in loaded && typeof loaded.path === 'function') {
    return String(loaded.path(folder));
  }
  throw new Error('node-gyp-build has no path()');
}
