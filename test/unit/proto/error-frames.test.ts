/** An error is led back to the author's own files. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path, { join } from 'node:path';
import { errorFrames } from '@flowops/proto/error-frames.ts';
import { transform } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';

const SOURCE = 'type A = 1;\nexport function fails(): never {\n  throw new Error("no");\n}\n';
let folder: string;
let sourceMap: string;
/** The place of `new Error` in the code made from SOURCE. */
let place: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'frames-'));
  await writeFile(join(folder, 'query.ts'), SOURCE);
  const made = await transform(SOURCE, { loader: 'ts', sourcemap: 'external', sourcefile: 'query.ts' });
  sourceMap = made.map;
  const lines = made.code.split('\n');
  const line = lines.findIndex((text) => text.includes('new Error'));
  place = `${line + 1}:${(lines[line] ?? '').indexOf('new Error') + 1}`;
});
afterAll(() => rm(folder, { recursive: true }));

const relative = () => path.relative(process.cwd(), join(folder, 'query.ts'));

test('the innermost frame comes with its line of source, the others below it', async () => {
  const stack = `Error: no\n    at fails (bundle.js:${place})\n    at start (bundle.js:${place})`;
  const text = await errorFrames(stack, { sourceMap, sourceFolder: folder });
  expect(text.split('\n')).toEqual([
    `${relative()}:3:9: thrown here`,
    '  1 | type A = 1;',
    '  2 | export function fails(): never {',
    '  3 |   throw new Error("no");',
    '    |         ^',
    '  4 | }',
    `    at ${relative()}:3:9`,
  ]);
});

test('at most 10 frames are shown', async () => {
  const stack = Array.from({ length: 40 }, () => `    at f (bundle.js:${place})`).join('\n');
  const text = await errorFrames(stack, { sourceMap, sourceFolder: folder });
  expect(text.split('\n').filter((line) => line.includes(':3:9'))).toHaveLength(10);
});

test("a stranger's map never makes a file be read", async () => {
  const map = JSON.stringify({ ...JSON.parse(sourceMap), sources: [path.relative(folder, '/etc/hostname')] });
  const text = await errorFrames(`    at f (x:${place})`, { sourceMap: map, sourceFolder: undefined });
  expect(text).not.toContain('|');
  expect(text).toContain(':3:9: thrown here');
});

test('a source that changed or went shows no line, and a map that is none shows the frames of the bundle', async () => {
  const stack = `    at f (bundle.js:${place})`;
  expect(await errorFrames(stack, { sourceMap, sourceFolder: join(folder, 'gone') })).toMatch(
    /query.ts:3:9: thrown here$/,
  );
  for (const broken of ['', 'no json', '{}', '[]']) {
    expect(await errorFrames(stack, { sourceMap: broken, sourceFolder: folder })).toBe(`    at f (bundle.js:${place})`);
  }
});

test('a stack of a hostile plugin steers no terminal', async () => {
  const stack = 'Error\n    at \u001b[2Jevil\u202e (bundle.js:1:1)\nnot a frame \u001b]52;c;eA==\u0007';
  expect(await errorFrames(stack, { sourceMap: '', sourceFolder: undefined })).toBe(
    '    at ␛[2Jevil<U+202E> (bundle.js:1:1)',
  );
});
