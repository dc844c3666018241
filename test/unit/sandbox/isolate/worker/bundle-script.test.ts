import vm from 'node:vm';
import { describe, expect, it } from 'vitest';
import { bundleScript } from '../../../../../sandbox/isolate/worker/bundle-script.ts';

const FIRST = '//! flowops-plugin {"name":"x","version":"1.0.0"}\n';
const FILLER = `/*${'.'.repeat(70_000)}*/\n`;
const EXPORT = 'export {\n  task as default\n};\n';

function evaluate(source: string): unknown {
  const script = bundleScript(source);
  if (script === undefined) throw new Error('no script');
  const main: unknown = vm.runInNewContext(script, {}, { filename: 'x.js' });
  if (typeof main !== 'function') throw new Error('no function');
  return JSON.parse(JSON.stringify(main()));
}

describe('a bundle as a script', () => {
  it.each([
    ['as esbuild writes it', EXPORT],
    ['minified', 'export{task as default};'],
    ['with further exports', 'export {\n  other,\n  task as default,\n  more as most\n};\n'],
    ['with a map', `${EXPORT}//# sourceMappingURL=x.js.map\n`],
  ])('gives its default export: %s', (_, final) => {
    const source = `${FIRST}${FILLER}var other = 1, more = 2;\nvar task = { a: 1 };\n${final}`;
    expect(evaluate(source)).toEqual({ loaded: true, plugin: { default: { a: 1 } } });
  });

  it('has the rules of a module: strict, and no this', () => {
    const source = `${FIRST}${FILLER}var task = { self: this === undefined, strict: (() => { try { undeclared = 1; return false; } catch { return true; } })() };\n${EXPORT}`;
    expect(evaluate(source)).toMatchObject({ plugin: { default: { self: true, strict: true } } });
  });

  it('may count down to zero', () => {
    const source = `${FIRST}${FILLER}var n = 0, a = 3;while(a-->0)n++;var task = n;\n${EXPORT}`;
    expect(evaluate(source)).toMatchObject({ plugin: { default: 3 } });
  });

  it('has each line where the bundle has it', () => {
    const source = `${FIRST}${FILLER}\n\nvar task = { line: new Error().stack.split('\\n')[1] };\n${EXPORT}`;
    const line = source.slice(0, source.indexOf('var task')).split('\n').length;
    expect(JSON.stringify(evaluate(source))).toContain(`x.js:${line}:`);
  });

  it.each([
    ['small', `${FIRST}var task = 1;\n${EXPORT}`],
    ['without a first line of its own', `${'.'.repeat(70_000)}`],
    ['without a default export', `${FIRST}${FILLER}var task = 1;\nexport {\n  task\n};\n`],
    ['with its export elsewhere', `${FIRST}${EXPORT}${FILLER}var task = 1;\n`],
    ['exporting an expression', `${FIRST}${FILLER}export default {};\n`],
    ['with text that is a comment in scripts only', `${FIRST}${FILLER}var a = 1, b = 1, task = a<!--b;\n${EXPORT}`],
    ['with the end of such a comment', `${FIRST}${FILLER}var a = 1, task = a\n --> 0;\n${EXPORT}`],
    ['with that behind a comment', `${FIRST}${FILLER}var a = 1, task = a/*\n*/ --> 0;\n${EXPORT}`],
  ])('stays a module when it is %s', (_, source) => {
    expect(bundleScript(source)).toBeUndefined();
  });

  it.each([
    ['a top-level await', 'await 1;'],
    ['import.meta', 'import.meta.url;'],
    ['an import', 'import a from "a";'],
    ['an export in between', 'export var a;'],
  ])('is a syntax error with %s, so that the module is compiled', (_, code) => {
    const script = bundleScript(`${FIRST}${FILLER}${code}\nvar task = 1;\n${EXPORT}`);
    expect(() => new vm.Script(script ?? '')).toThrow(SyntaxError);
  });
});
