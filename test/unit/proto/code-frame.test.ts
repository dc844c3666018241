/** A few lines of source with a mark under a place. */
import { codeFrame, lineFrame } from '@flowops/proto/code-frame.ts';
import { describe, expect, it } from 'vitest';

const SOURCE = 'one\ntwo\r\n\tthree\nfour\n\nsix';

describe('a code frame', () => {
  it('shows two lines before the place, one after it, and marks the column', () => {
    expect(codeFrame(SOURCE, { line: 3, column: 2 })).toBe('  1 | one\n  2 | two\n  3 |  three\n    |  ^\n  4 | four');
  });

  it('marks the whole line where no column is known, and aligns numbers of different width', () => {
    const lines = Array.from({ length: 12 }, (_, index) => `line ${index + 1}`).join('\n');
    expect(codeFrame(lines, { line: 9 })).toBe('   7 | line 7\n   8 | line 8\n>  9 | line 9\n  10 | line 10');
  });

  it('leaves out an empty line after the place, and ends with the file', () => {
    expect(codeFrame(SOURCE, { line: 4, column: 1 })).toBe('  2 | two\n  3 |  three\n  4 | four\n    | ^');
    expect(codeFrame(SOURCE, { line: 6, column: 1 })).toBe('  4 | four\n  5 |\n  6 | six\n    | ^');
  });

  it('of a line that the source does not have is none', () => {
    expect(codeFrame(SOURCE, { line: 7 })).toBeUndefined();
    expect(codeFrame(SOURCE, { line: 0 })).toBeUndefined();
  });

  it('cuts no line that fits, wherever its column is', () => {
    const line = `${'a'.repeat(100)}HERE`;
    expect(lineFrame(line, { line: 1, column: 101 })).toBe(`  1 | ${line}\n    | ${' '.repeat(100)}^`);
  });

  it('cuts wide lines around the column', () => {
    const wide = `${'a'.repeat(500)}HERE${'b'.repeat(500)}`;
    const [text = '', mark = ''] = lineFrame(wide, { line: 1, column: 501 }).split('\n');
    expect(text.length).toBeLessThan(140);
    expect(text.slice(mark.indexOf('^')).startsWith('HERE')).toBe(true);
  });
});
