/**
 * What stands in for Node while a `runtime: "node"` plugin is evaluated for its manifest in an isolate. Node's modules,
 * and packages that import them anywhere, are one inert thing: every import, property and call gives it again. So nothing
 * of such a package runs, and nothing can fail in it for want of Node; packages that need no Node, and the author's own
 * files, are themselves, since a manifest may be made with them. The real ones exist in the container only.
 */
import path from 'node:path';
import type { Plugin } from 'esbuild';
import { isUnbundled } from './compile-problems.ts';

const NAMESPACE = 'node-stand-in';
/** As an import names a package; not a file, and not a scheme. */
const PACKAGE = /^(@[^/:]+\/)?[a-zA-Z0-9][^:]*$/;

/** What is global in Node, first in the code. `names` is what an import takes its names from. */
export const STAND_IN_BANNER = `(() => {
const inert = new Proxy(function () {}, {
  get: (_target, key) => key === 'then' || key === '__esModule' ? undefined : key === Symbol.toPrimitive ? () => '' : key === Symbol.iterator ? () => [][Symbol.iterator]() : inert,
  set: () => true,
  has: () => true,
  apply: () => inert,
  construct: () => inert,
  getPrototypeOf: () => names,
});
const names = new Proxy(Object.create(null), { get: (_target, key) => inert[key] });
const process = { version: '${process.version}', versions: { node: '${process.versions.node}' }, platform: 'linux', arch: 'x64', env: {}, argv: [], execArgv: [] };
globalThis.process = Object.assign(Object.create(names), process);
globalThis.Buffer = inert;
globalThis.global = globalThis;
globalThis.__filename = '/plugin.js';
globalThis.__dirname = '/';
globalThis.__flowopsInert = inert;
})();`;

/** CommonJS, so that any name can be imported from it. */
const STAND_IN = 'module.exports = globalThis.__flowopsInert;';

export function nodeStandInPlugin(): Plugin {
  return {
    name: NAMESPACE,
    setup(build) {
      const known = new Map<string, Promise<boolean>>();
      const standIn = (name: string) => ({ path: name, namespace: NAMESPACE });
      build.onResolve({ filter: /.*/ }, async ({ path: name, kind, importer, resolveDir, pluginData }) => {
        if (kind === 'entry-point' || pluginData !== undefined) return undefined;
        if (isUnbundled(name)) return standIn(name);
        if (!PACKAGE.test(name) || name.startsWith('@flowops/')) return undefined;
        const found = await build.resolve(name, { kind, importer, resolveDir, pluginData: NAMESPACE });
        if (found.errors.length > 0 || found.namespace !== 'file') return undefined;
        const needs = known.get(found.path) ?? needsNode(found.path);
        known.set(found.path, needs);
        return (await needs) ? standIn(name) : undefined;
      });
      build.onLoad({ filter: /.*/, namespace: NAMESPACE }, () => ({ contents: STAND_IN, loader: 'js' }));
    },
  };
}

/** @param file of a package. Also true where it cannot be bundled: then nothing of it can run. */
async function needsNode(file: string): Promise<boolean> {
  const esbuild = await import('esbuild');
  const outside: Plugin = {
    name: 'outside',
    setup: ({ onResolve }) => {
      onResolve({ filter: /.*/ }, ({ path: name }) => (isUnbundled(name) ? { path: name, external: true } : undefined));
    },
  };
  try {
    const { metafile } = await esbuild.build({
      absWorkingDir: path.dirname(file),
      entryPoints: [file],
      bundle: true,
      write: false,
      metafile: true,
      format: 'esm',
      platform: 'node',
      logLevel: 'silent',
      tsconfigRaw: {},
      plugins: [outside],
    });
    return Object.values(metafile.outputs).some(({ imports }) => imports.some(({ path: name }) => isUnbundled(name)));
  } catch {
    return true;
  }
}
