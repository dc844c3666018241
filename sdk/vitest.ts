/**
 * `@flowops/sdk/vitest`: lets vitest run tests of plugins with decorators. Neither Node nor vitest lowers standard
 * decorators, so files that use them go through esbuild, with the settings of `flowops plugin build`. esbuild is the
 * author's own development dependency; files without decorators never ask for it.
 */
import type * as Esbuild from 'esbuild';

/**
 * The parts of a vite plugin that are used here.
 *
 * @example
 * const plugins: DecoratorsPlugin[] = [flowops()];
 */
export interface DecoratorsPlugin {
  readonly name: string;
  readonly enforce: 'pre';
  transform(code: string, id: string): Promise<{ code: string; map: string } | undefined>;
}

const SOURCE_NAME = /\.([cm]?[jt]sx?)$/;
/**
 * A decorator stands at the beginning of a line, or behind `export default`, `;` or `{`. A comment that looks like one
 * costs a needless way through esbuild and changes nothing.
 */
const MAY_HAVE_DECORATORS = /(?:^|[{;])[ \t]*(?:export[ \t]+(?:default[ \t]+)?)?@[A-Za-z_$][\w$.]*[ \t]*[\r\n(]/m;

/**
 * A plugin for `vitest.config.ts`.
 *
 * @example
 * export default defineConfig({ plugins: [flowops()] });
 */
export function flowops(): DecoratorsPlugin {
  return {
    name: 'flowops',
    enforce: 'pre',
    async transform(code, id) {
      const file = id.split('?', 1)[0] ?? id;
      const extension = SOURCE_NAME.exec(file)?.[1];
      if (extension === undefined || /[\\/]node_modules[\\/]/.test(file) || !MAY_HAVE_DECORATORS.test(code)) {
        return undefined;
      }
      const { transform } = await loadEsbuild(file);
      const lowered = await transform(code, {
        loader: loaderOf(extension),
        target: 'es2022',
        sourcefile: file,
        sourcemap: true,
        // The author's tsconfig.json is not read: `experimentalDecorators` in it would give other decorators.
        tsconfigRaw: { compilerOptions: { experimentalDecorators: false, useDefineForClassFields: true } },
      });
      return { code: lowered.code, map: lowered.map };
    },
  };
}

async function loadEsbuild(file: string): Promise<typeof Esbuild> {
  try {
    return await import('esbuild');
  } catch (thrown) {
    throw new Error(
      `${file} uses decorators, which vitest cannot run by itself: npm install --save-dev esbuild (flowops() finds it then)`,
      { cause: thrown },
    );
  }
}

function loaderOf(extension: string): Esbuild.Loader {
  if (extension.endsWith('tsx')) return 'tsx';
  if (extension.endsWith('jsx')) return 'jsx';
  return extension.endsWith('ts') ? 'ts' : 'js';
}
