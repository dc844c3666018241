/**
 * A vitest plugin: files that use decorators go through esbuild, because neither Node's type stripping nor vitest
 * lowers them. Everything else is left to vitest.
 */
import { transform } from 'esbuild';
import type { Plugin } from 'vite';

const MAY_HAVE_DECORATORS = /^\s*@[A-Z]\w*\s*\(/m;

export function decorators(): Plugin {
  return {
    name: 'flowops-decorators',
    enforce: 'pre',
    async transform(code, id) {
      const file = id.split('?')[0] ?? id;
      if (!file.endsWith('.ts') || file.includes('/node_modules/') || !MAY_HAVE_DECORATORS.test(code)) return undefined;
      const { code: lowered, map } = await transform(code, {
        loader: 'ts',
        target: 'es2022',
        sourcefile: file,
        sourcemap: true,
        tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
      });
      return { code: lowered, map };
    },
  };
}
