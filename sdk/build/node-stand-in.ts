/**
 * Node's modules while a `runtime: "node"` plugin is evaluated for its manifest in an isolate: every import, property
 * and call gives the same inert thing. It reads nothing and does nothing; the real modules exist in the container only.
 */
import { isBuiltin } from 'node:module';
import type { Plugin } from 'esbuild';

const NAMESPACE = 'node-stand-in';

/** CommonJS, so that any name can be imported from it. */
const STAND_IN = `
const inert = new Proxy(function () {}, {
  get: (_target, key) => key === 'then' || key === '__esModule' ? undefined : key === Symbol.toPrimitive ? () => '' : key === Symbol.iterator ? () => [][Symbol.iterator]() : inert,
  set: () => true,
  has: () => true,
  apply: () => inert,
  construct: () => inert,
});
globalThis.process ??= inert;
globalThis.Buffer ??= inert;
globalThis.global ??= globalThis;
module.exports = inert;
`;

export function nodeStandInPlugin(): Plugin {
  return {
    name: NAMESPACE,
    setup(build) {
      build.onResolve({ filter: /^[a-z_]|^node:/ }, (args) =>
        isBuiltin(args.path) ? { path: args.path, namespace: NAMESPACE } : undefined,
      );
      build.onLoad({ filter: /.*/, namespace: NAMESPACE }, () => ({ contents: STAND_IN, loader: 'js' }));
    },
  };
}
