/** Imports point one way, and each part asks only for what its own package.json names. */
import { isBuiltin } from 'node:module';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { findCycles, type Import, importsOf } from './imports.ts';
import { readProjectFile } from './project-files.ts';
import { nodesOf, parseSource, sourceFiles } from './syntax.ts';

/** Who may import whom. `bin` composes the parts; `test` looks at everything. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  proto: ['proto'],
  sdk: ['sdk', 'proto'],
  sandbox: ['sandbox', 'sdk', 'proto'],
  engine: ['engine', 'proto'],
  bin: ['bin', 'engine', 'sandbox', 'sdk', 'proto'],
};
const PARTS = ['proto', 'sdk', 'sandbox', 'engine'];

/** Entry points: of the published package, and of what is bundled into the isolate. Only they may re-export. */
const ENTRY_POINTS = ['sdk/index.ts', 'sdk/testing.ts', 'sdk/vitest.ts', 'sdk/task-runtime.ts'];

const packageSchema = z.looseObject({ dependencies: z.record(z.string(), z.string()).default({}) });

/** A program of its own that uses the packages from outside. */
const EXAMPLE_PROGRAMS = 'engine/examples/';

const allImports = sourceFiles()
  .filter(({ path }) => !path.startsWith(EXAMPLE_PROGRAMS))
  .flatMap(importsOf);
const topFolder = (file: string): string => file.split('/')[0] ?? '';

function importsFrom(text: string): readonly string[] {
  return importsOf({ path: 'engine/made-up.ts', ...parseSource(text) })
    .map(({ file, specifier }) => file ?? specifier)
    .sort();
}

describe('the reader of imports', () => {
  it('sees static, type, dynamic, re-exported and resolved imports', () => {
    const text = [
      "import type { A } from './a.ts';",
      "import { type B } from '../sdk/b.ts';",
      "export * from './c.ts';",
      "export { d } from './d.ts';",
      "type E = import('./e.ts').E;",
      "const f = await import('@flowops/proto/f.ts');",
      "const g = import.meta.resolve('@flowops/sdk');",
      "import zod from 'zod'; // import './not-this.ts'",
      'const text = \'import x from "./nor-this.ts"\';',
    ].join('\n');
    expect(importsFrom(text)).toEqual([
      'engine/a.ts',
      'engine/c.ts',
      'engine/d.ts',
      'engine/e.ts',
      'proto/f.ts',
      'sdk/b.ts',
      'sdk/index.ts',
      'zod',
    ]);
  });

  it('finds a cycle and names the files on it', () => {
    const edge = (from: string, file: string): Import => ({ from, specifier: file, file });
    expect(findCycles([edge('a', 'b'), edge('b', 'c'), edge('a', 'c')])).toEqual([]);
    expect(findCycles([edge('a', 'b'), edge('b', 'c'), edge('c', 'b')])).toEqual(['b → c → b']);
  });
});

describe('imports', () => {
  it('are there to be checked in every part', () => {
    const withImports = new Set(allImports.map(({ from }) => topFolder(from)));
    expect([...withImports]).toEqual(expect.arrayContaining(PARTS));
  });

  it('point one way: engine → proto, sandbox → sdk → proto, and never to tests', () => {
    const wrong = allImports.filter(({ from, file }) => {
      const allowed = MAY_IMPORT[topFolder(from)];
      return file !== undefined && allowed !== undefined && !allowed.includes(topFolder(file));
    });
    expect(wrong.map(({ from, specifier }) => `${from} imports ${specifier}`)).toEqual([]);
  });

  it('keep the sandbox host, the jailed worker and the runner in a container apart; only the last two share the guest', () => {
    const sides = {
      'sandbox/isolate/worker/': 'worker',
      'sandbox/container/runner/': 'runner',
      'sandbox/guest/': 'guest',
      'sandbox/': 'host',
    };
    const sideOf = (file: string) => Object.entries(sides).find(([folder]) => file.startsWith(folder))?.[1] ?? 'shared';
    const crossing = allImports.filter(({ from, file }) => {
      if (file === undefined || sideOf(file) === 'shared' || sideOf(from) === 'shared') return false;
      if (sideOf(file) === 'guest') return sideOf(from) === 'host';
      return sideOf(from) !== sideOf(file);
    });
    const found = new Set(allImports.map(({ from }) => sideOf(from)));
    expect([...found].sort()).toEqual(['guest', 'host', 'runner', 'shared', 'worker']);
    expect(crossing.map(({ from, specifier }) => `${from} imports ${specifier}`)).toEqual([]);
  });

  it('cross from part to part by package name, not by path', () => {
    const wrong = allImports.filter(
      ({ from, specifier, file }) =>
        PARTS.includes(topFolder(from)) &&
        specifier.startsWith('.') &&
        file !== undefined &&
        topFolder(from) !== topFolder(file),
    );
    expect(wrong.map(({ from, specifier }) => `${from} imports ${specifier}`)).toEqual([]);
  });

  it('make no cycle between files', () => {
    expect(findCycles(allImports.filter(({ from }) => PARTS.includes(topFolder(from))))).toEqual([]);
  });

  it('name only packages that the package.json of the part has as dependencies', () => {
    const wrong = allImports.filter(({ from, specifier, file }) => {
      const part = topFolder(from);
      if (!PARTS.includes(part) || file !== undefined || isBuiltin(specifier)) return false;
      // Given by our own build of the isolate's bundle, not by a package.
      if (specifier.startsWith('flowops:')) return false;
      // An example is an author's own folder with its own package.json.
      if (from.startsWith('sdk/examples/')) return false;
      return !dependenciesOf(part).includes(packageOf(specifier));
    });
    expect(wrong.map(({ from, specifier }) => `${from} imports ${specifier}`)).toEqual([]);
  });

  it('of our own packages are declared too', () => {
    const wrong = allImports.filter(({ from, specifier }) => {
      const part = topFolder(from);
      if (!PARTS.includes(part) || !specifier.startsWith('@flowops/')) return false;
      return packageOf(specifier) !== `@flowops/${part}` && !dependenciesOf(part).includes(packageOf(specifier));
    });
    expect(wrong.map(({ from, specifier }) => `${from} imports ${specifier}`)).toEqual([]);
  });

  it('of Node say node:', () => {
    const wrong = allImports.filter(({ specifier }) => isBuiltin(specifier) && !specifier.startsWith('node:'));
    expect(wrong.map(({ from, specifier }) => `${from} imports ${specifier}`)).toEqual([]);
  });
});

describe('re-exports', () => {
  it('are in the entry points of the SDK and nowhere else', () => {
    const barrels = sourceFiles().filter(({ path, root }) => {
      if (!PARTS.includes(topFolder(path)) || ENTRY_POINTS.includes(path)) return false;
      return [...nodesOf(root)].some(
        ({ type, source }) => /^Export(Named|All)Declaration$/.test(type) && source !== null && source !== undefined,
      );
    });
    expect(barrels.map(({ path }) => path)).toEqual([]);
  });
});

const dependencies = new Map<string, readonly string[]>();

function dependenciesOf(part: string): readonly string[] {
  const known = dependencies.get(part);
  if (known !== undefined) return known;
  const parsed = packageSchema.parse(JSON.parse(readProjectFile(`${part}/package.json`)));
  const names = Object.keys(parsed.dependencies);
  dependencies.set(part, names);
  return names;
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
