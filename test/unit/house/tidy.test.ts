/** The habits of the code that a machine can check. */
import { describe, expect, it } from 'vitest';
import { codeFiles } from './project-files.ts';
import { lineOf, nodesOf, sourceFiles } from './syntax.ts';

/** Seldom over 300; past 400 a file has more than one job. A contract suite or a table of cases may run longer. */
const FILE_LINES_MAX = 400;
const TEST_LINES_MAX = 600;

/** Put together here, so that this file does not hold what it looks for. */
const UNFINISHED = new RegExp(`\\b(?:${['TO' + 'DO', 'FIX' + 'ME'].join('|')})\\b|not ${'implemented'}`);
const KEBAB_CASE = /^[a-z0-9]+(?:-[a-z0-9]+)*$/;
const LEFT_OUT = /\b(?:it|test|describe|suite|bench)(?:\.\w+)*\.(?:only|skip|todo)\b|\bx(?:it|describe)\(/;
const OWN_SKIP = 'test/support/skip.ts';

/** An author's own folder, told of in the README beside it. */
const isExample = (path: string): boolean => path.startsWith('sdk/examples/');
const isTest = (path: string): boolean => path.startsWith('test/');

describe('every source file', () => {
  it('exists to be checked', () => {
    expect(codeFiles().length).toBeGreaterThan(50);
  });

  it(`has at most ${FILE_LINES_MAX} lines, ${TEST_LINES_MAX} in tests`, () => {
    const long = sourceFiles()
      .map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }))
      .filter(({ path, lines }) => lines > (isTest(path) ? TEST_LINES_MAX : FILE_LINES_MAX));
    expect(long).toEqual([]);
  });

  it('begins with a comment that says what it owns, unless its test titles do', () => {
    const bare = sourceFiles().filter(
      ({ path, text }) => !/^(?:#!.*\n)?\/(?:\*\*|\/ )/.test(text) && !path.endsWith('.test.ts') && !isExample(path),
    );
    expect(bare.map(({ path }) => path)).toEqual([]);
  });

  it('has a kebab-case name, its folders too', () => {
    const wrong = codeFiles().filter((path) => {
      const segments = path.replace(/^\./, '').split('/');
      return !segments.flatMap((segment) => segment.split('.')).every((word) => KEBAB_CASE.test(word));
    });
    expect(wrong).toEqual([]);
  });

  it('has nothing left to finish', () => {
    expect(linesMatching(UNFINISHED, () => true)).toEqual([]);
  });

  it('has no any, except where a comment gives the reason', () => {
    const places = sourceFiles().flatMap(({ path, text, root }) =>
      [...nodesOf(root)]
        .filter(({ type }) => type === 'TSAnyKeyword')
        .map(({ start }) => lineOf(text, start))
        .filter((line) => !/biome-ignore lint\/suspicious\/noExplicitAny: \w/.test(text.split('\n')[line - 2] ?? ''))
        .map((line) => `${path}:${line}`),
    );
    expect(places).toEqual([]);
  });

  it('has no enum, namespace or parameter property, which type stripping cannot remove', () => {
    const types = ['TSEnumDeclaration', 'TSModuleDeclaration', 'TSParameterProperty'];
    const places = sourceFiles().flatMap(({ path, text, root }) =>
      [...nodesOf(root)]
        // `declare module 'x'` only adds types.
        .filter((node) => types.includes(node.type) && node.declare !== true)
        .map((node) => `${path}:${lineOf(text, node.start)}`),
    );
    expect(places).toEqual([]);
  });
});

describe('every test', () => {
  it('runs: none is left out, and one that cannot run here says why through skipBecause', () => {
    expect(linesMatching(LEFT_OUT, isTest)).toEqual([]);
    expect(linesMatching(/\bskip\(/, (path) => isTest(path) && path !== OWN_SKIP)).toEqual([]);
  });
});

function linesMatching(pattern: RegExp, isAsked: (path: string) => boolean): readonly string[] {
  const own = 'test/unit/house/tidy.test.ts';
  return sourceFiles()
    .filter(({ path }) => isAsked(path) && path !== own)
    .flatMap(({ path, text }) =>
      text.split('\n').flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : [])),
    );
}
