import { showControls, showIndented } from '@flowops/proto/terminal-text.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('showControls', () => {
  it('leaves ordinary text of any language as it is', () => {
    const text = 'Grüße, 日本語, العربية, עברית, emoji 🎉, ⇐ ␛';
    expect(showControls(text)).toBe(text);
  });

  it('shows an ANSI sequence instead of clearing the screen', () => {
    expect(showControls('\x1b[2J\x1b[31mred')).toBe('␛[2J␛[31mred');
  });

  it('shows an OSC sequence that would set the title or the clipboard', () => {
    expect(showControls('\x1b]52;c;aGk=\x07')).toBe('␛]52;c;aGk=␇');
  });

  it('shows the 8-bit forms of CSI and OSC', () => {
    expect(showControls('\x9b31m\x9d0;title\x9c')).toBe('<U+009B>31m<U+009D>0;title<U+009C>');
  });

  it('shows carriage return and backspace, which would overwrite the line', () => {
    expect(showControls('real\rfake\b\x7f')).toBe('real␍fake␈␡');
  });

  it('shows bidirectional controls, which would reorder what is read', () => {
    expect(showControls('user\u202e\u2066// admin\u2069')).toBe('user<U+202E><U+2066>// admin<U+2069>');
  });

  it('shows characters that have no ink', () => {
    expect(showControls('a\u200bb\ufeffc\u00add\u3164e\u{e0041}')).toBe(
      'a<U+200B>b<U+FEFF>c<U+00AD>d<U+3164>e<U+E0041>',
    );
  });

  it('shows a lone surrogate and separators that end a line', () => {
    expect(showControls('a\ud800b\u2028c\u2029d\u0085e')).toBe('a<U+D800>b<U+2028>c<U+2029>d<U+0085>e');
  });

  it('shows line feeds and tabs unless the caller prints several lines', () => {
    expect(showControls('a\n\tb')).toBe('a␊␉b');
    expect(showControls('a\n\tb\r', { keepLines: true })).toBe('a\n\tb␍');
  });

  it('puts the further lines of an error where none of ours begins', () => {
    expect(showIndented('failed\n  ✔ flow COMPLETED\nreceipt\n\n\tx\n    at run (a.ts:1:2)\n          deeper\r')).toBe(
      'failed\n        ✔ flow COMPLETED\n      receipt\n      \n      \tx\n          at run (a.ts:1:2)\n                deeper␍',
    );
  });

  it('moves all lines alike, so that a mark stays under its code', () => {
    expect(showIndented('a.ts:1:9: no\n  1 | let x = ;\n    |         ^')).toBe(
      'a.ts:1:9: no\n      1 | let x = ;\n        |         ^',
    );
    expect(showIndented('no\n          deep\n       less')).toBe('no\n          deep\n       less');
  });

  it('leaves nothing that a terminal obeys, and is stable when applied again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const shown = showControls(text);
        expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
        expect(showControls(shown)).toBe(shown);
      }),
    );
  });
});
