/** For whatever bundles zod: half of it is its messages in all languages but the one that is used. */
import path from 'node:path';
import type { Plugin } from 'esbuild';

export const ONE_LANGUAGE: Plugin = {
  name: 'one-language',
  setup: ({ onLoad }) => {
    onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, ({ path: file }) => ({
      contents: "export { default as en } from './en.js';",
      resolveDir: path.dirname(file),
    }));
  },
};
