import { afterEach, describe, expect, it, vi } from 'vitest';
import { flowops } from '../../../sdk/vitest.ts';

afterEach(() => {
  vi.doUnmock('esbuild');
  vi.resetModules();
});

/** What became of a file, evaluated with the given names; undefined when it was left as it is. */
async function lower(code: string, file = '/folder/plugin.ts') {
  const lowered = await flowops().transform(code, file);
  return lowered?.code;
}

/** A class decorator and a field decorator that write down what they are given. */
const WRITING = `
  const seen: unknown[] = [];
  const task = (name: string) => (_: unknown, context: ClassDecoratorContext) => {
    context.metadata.name = name;
  };
  const field = () => (_: undefined, context: ClassFieldDecoratorContext) => void seen.push(context.kind, context.name);
`;

interface Lowered {
  readonly A: { readonly [key: symbol]: unknown };
  readonly seen: readonly unknown[];
}

describe('flowops() of @flowops/sdk/vitest', () => {
  it.each([
    ['before the class', "@task('a')\nexport class A {\n  @field() x = 1;\n}"],
    ['behind export', "export @task('a') class A {\n  @field()\n  x = 1;\n}"],
    ['on one line', "export const made = 1; @task('a') export class A { @field() x = 1; }"],
  ])('lowers standard decorators %s, with their metadata', async (_where, text) => {
    const code = await lower(`${WRITING}\n${text}\nexport { seen };`);
    const found: Lowered = await import(`data:text/javascript,${encodeURIComponent(String(code))}`);
    expect(found.seen).toEqual(['field', 'x']);
    expect(found.A[Symbol.for('Symbol.metadata')]).toMatchObject({ name: 'a' });
  });

  it('lowers JavaScript too, and gives a source map', async () => {
    const lowered = await flowops().transform(
      "@task({ name: 'a' })\nexport default class A {}\n",
      '/folder/plugin.mjs?v=1',
    );
    expect(lowered?.code).not.toContain('@task');
    expect(JSON.parse(lowered?.map ?? '{}')).toMatchObject({ version: 3, sources: ['/folder/plugin.mjs'] });
  });

  it.each([
    ['a file without decorators', '/folder/a.ts', 'export const a: number = 1; // by me@example.com'],
    [
      'a comment with tags',
      '/folder/a.ts',
      '/**\n * @param {string} a of {@link B} (see there)\n */\nexport const a = 1;',
    ],
    ['a package', '/folder/node_modules/a/index.ts', '@task()\nclass A {}'],
    ['another kind of file', '/folder/a.css', '@media (print) {}'],
  ])('leaves %s to vitest', async (_what, file, code) => {
    expect(await lower(code, file)).toBeUndefined();
  });

  it('says what to install where esbuild is missing', async () => {
    vi.doMock('esbuild', () => {
      throw new Error('Cannot find package');
    });
    const { flowops: fresh } = await import('../../../sdk/vitest.ts');
    await expect(fresh().transform('@task()\nclass A {}', '/folder/plugin.ts')).rejects.toThrow(
      '/folder/plugin.ts uses decorators, which vitest cannot run by itself: npm install --save-dev esbuild',
    );
    expect(await fresh().transform('export const a = 1;', '/folder/plugin.ts')).toBeUndefined();
  });
});
