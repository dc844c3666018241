/**
 * The types of a package: what tsc declares of the entries' modules, cut down to those that the entries reach, with
 * imports as transpile.ts writes them. TypeScript runs as a program: it has no stable interface to call.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, extname, join } from 'node:path';
import { promisify } from 'node:util';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { ROOT } from '../node24.mjs';
import { OWN_PARTS, ownFile, packageName, packedPath, relativeImport } from './transpile.ts';

export interface Declared {
  /** `.d.ts` texts by their path from the root of the package. */
  readonly files: ReadonlyMap<string, string>;
  /** Names of the packages of others whose types they name. */
  readonly packages: ReadonlySet<string>;
}

/** tsc takes a second or two for all of ours; many times that on a busy machine. */
const TSC_MAX_MS = 120_000;
/** As tsc writes them: `from "x"`, `import("x")`, `import "x"`; or a comment, whose examples stay as they are. */
const SPECIFIER = /\/\*[\s\S]*?\*\/|(\bfrom |\bimport\(|\bimport )(["'])([^"'\n]+)\2/g;

/** Newer than the libraries that a reader's compiler has by default. */
const NEW_NAME = /\bAsyncDisposable\b/;
const NEW_NAMES_LIBRARY = '/// <reference lib="esnext.disposable" />\n';

/** @param entries from the root of the clone */
export async function declarations(entries: readonly string[]): Promise<Declared> {
  // Inside the clone: types of packages are looked for from here upwards.
  const cache = join(ROOT, '.cache');
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, 'declarations-'));
  try {
    await runTsc(folder, entries);
    return await collect(folder, entries);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runTsc(folder: string, entries: readonly string[]): Promise<void> {
  const config = {
    extends: join(ROOT, 'tsconfig.json'),
    compilerOptions: {
      noEmit: false,
      declaration: true,
      emitDeclarationOnly: true,
      stripInternal: true,
      rootDir: ROOT,
      outDir: folder,
      // Not by way of node_modules: tsc declares nothing of what it finds there.
      paths: Object.fromEntries(OWN_PARTS.map((part) => [`@flowops/${part}/*`, [join(ROOT, part, '*')]])),
    },
    files: entries.map((file) => join(ROOT, file)),
    include: [],
  };
  const file = join(folder, 'tsconfig.json');
  await writeFile(file, JSON.stringify(config));
  await promisify(execFile)(process.execPath, [tscFile(), '--project', file], {
    cwd: ROOT,
    timeout: TSC_MAX_MS,
  }).catch((thrown: unknown) => {
    const told = thrown instanceof Error && 'stdout' in thrown ? String(thrown.stdout).trim() : '';
    throw new FlowopsError('CONFIG_INVALID', `the types could not be made by tsc:\n${told}`, { cause: thrown });
  });
}

function tscFile(): string {
  const manifest = createRequire(import.meta.url).resolve('typescript/package.json');
  return join(dirname(manifest), 'bin', 'tsc');
}

async function collect(folder: string, entries: readonly string[]): Promise<Declared> {
  const files = new Map<string, string>();
  const packages = new Set<string>();
  const waiting = [...entries];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    const path = declarationPath(file);
    if (files.has(path)) continue;
    const text = await declarationOf(folder, file);
    const from = file;
    files.set(
      path,
      text.replace(SPECIFIER, (found, head?: string, quote?: string, specifier?: string) => {
        if (specifier === undefined) return found;
        const own = ownFile(specifier, join(ROOT, dirname(from)));
        if (own === undefined) {
          if (!specifier.startsWith('node:')) packages.add(packageName(specifier));
          return found;
        }
        waiting.push(own);
        return `${head}${quote}${relativeImport(from, packedPath(own))}${quote}`;
      }),
    );
  }
  return { files, packages };
}

/** What tsc wrote; for a module that is JavaScript here already, the declarations that lie beside it. */
async function declarationOf(folder: string, file: string): Promise<string> {
  const beside = extname(file) === '.ts' ? folder : ROOT;
  const text = await readFile(join(beside, declarationPath(file)), 'utf8');
  return NEW_NAME.test(text) ? `${NEW_NAMES_LIBRARY}${text}` : text;
}

function declarationPath(file: string): string {
  return `${file.slice(0, -extname(file).length)}.d.ts`;
}
