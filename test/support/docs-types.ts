/** Checks the types of a page's `ts check` fences, all at once, against this checkout's sources. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { bareEnvironment, ROOT, run } from './clone.ts';
import { PageError, type PageStep } from './docs-page.ts';

/** What an author imports, and where it is here. */
const PACKAGES = {
  '@flowops/sdk': 'sdk/index.ts',
  '@flowops/sdk/testing': 'sdk/testing.ts',
  '@flowops/sdk/vitest': 'sdk/vitest.ts',
  '@flowops/cli/engine': 'bin/library.ts',
};

export async function checkTypes(steps: readonly PageStep[], signal: AbortSignal): Promise<void> {
  const checked = steps.filter((step) => step.kind === 'check');
  const [first] = checked;
  if (first === undefined) return;
  const folder = scratchFolder();
  for (const step of checked) {
    mkdirSync(join(folder, 'page'), { recursive: true });
    // Every fence is a module of its own, with or without an import.
    writeFileSync(join(folder, 'page', `line-${step.line}.ts`), `${step.text}export {};\n`);
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(settings()));
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const env = bareEnvironment(process.execPath);
  const ended = await run(process.execPath, [tsc, '--project', folder, '--pretty', 'false'], {
    cwd: folder,
    env,
    signal,
  });
  removeFolder(folder);
  // Our own sources are checked under their own settings, elsewhere.
  const isOfSources = (line: string): boolean => /^\.\.\/.*\(\d+,\d+\): error TS/.test(line);
  const errors = ended.text.split('\n').filter((line) => / ?error TS\d+/.test(line));
  if (ended.code === 0 || (errors.length > 0 && errors.every(isOfSources))) return;
  const at = /line-(\d+)\.ts/.exec(ended.text)?.[1];
  throw new PageError(checked.find(({ line }) => `${line}` === at) ?? first, `the types are wrong:\n${ended.text}`);
}

function settings(): object {
  const compilerOptions = {
    target: 'es2022',
    lib: ['es2023', 'dom', 'esnext.decorators', 'esnext.disposable'],
    module: 'preserve',
    moduleResolution: 'bundler',
    strict: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    skipLibCheck: true,
    types: ['node'],
    typeRoots: [join(ROOT, 'node_modules', '@types')],
    paths: {
      ...Object.fromEntries(Object.entries(PACKAGES).map(([name, path]) => [name, [join(ROOT, path)]])),
      '*': [join(ROOT, 'node_modules', '*')],
    },
  };
  return { compilerOptions, include: ['page/*.ts'] };
}
