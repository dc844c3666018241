/**
 * Lets tests import TypeScript that uses decorators: neither Node nor vitest lowers them, esbuild does. Only files
 * that hold a decorator pass through it; all others stay with vitest's own transform.
 */
import { transform } from 'esbuild';
import type { Plugin } from 'vitest/config';

/** A line that begins with `@Name(`: what every decorator of the SDK looks like. */
const DECORATOR_LINE = /^\s*@[A-Z]\w*\(/m;

export function decorators(): Plugin {
  return {
    name: 'flowops-decorators',
    enforce: 'pre',
    async transform(code, id) {
      const [file = ''] = id.split('?');
      if (!file.endsWith('.ts') || file.includes('/node_modules/') || !DECORATOR_LINE.test(code)) return null;
      const lowered = await transform(code, { loader: 'ts', target: 'es2022', sourcefile: file, sourcemap: true });
      return { code: lowered.code, map: lowered.map };
    },
  };
}
