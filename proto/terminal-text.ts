/**
 * Text of a stranger on its way to a terminal: what would steer the terminal or reorder the line is shown, not obeyed.
 * For every place that prints something a plugin, a flow or a peer wrote. Deterministic; knows nothing of colours of
 * ours, so it is applied to the stranger's text before ours is put around it.
 *
 * Shown as its picture or its number: C0 (ESC becomes ␛, so that an OSC or CSI sequence is plain text), DEL, C1 (8-bit
 * CSI and OSC), line and paragraph separators, bidirectional controls (CVE-2021-42574), zero-width and other invisible
 * format characters, lone surrogates.
 */

/**
 * `\p{Cc}` C0, DEL, C1; `\p{Cf}` bidi controls, zero-width, soft hyphen, tags; `\p{Zl}` `\p{Zp}` separators;
 * `\p{Cs}` lone surrogates; U+115F, U+1160, U+3164, U+FFA0 letters without ink.
 */
const CONTROLS = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u115f\u1160\u3164\uffa0]/gu;

export interface ShowControlsOptions {
  /** What may stay because the caller prints several lines: line feeds and tabs. Default: nothing stays. */
  readonly keepLines?: boolean;
}

/** The text with its control characters made visible: `\x1b[2J` becomes `␛[2J`, U+202E becomes `<U+202E>`. */
export function showControls(text: string, options: ShowControlsOptions = {}): string {
  return text.replace(CONTROLS, (character) => {
    if (options.keepLines === true && (character === '\n' || character === '\t')) return character;
    return picture(character.codePointAt(0) ?? 0);
  });
}

/** Deeper than any line of ours that tells how something ended. */
const INDENT = '      ';

/**
 * An error of several lines: none but the first begins where lines of ours do, so that it cannot pass for one. They are
 * moved together, so that code and the mark under it stay in line.
 */
export function showIndented(text: string): string {
  const [first = '', ...rest] = showControls(text, { keepLines: true }).split('\n');
  let least = INDENT.length;
  for (const line of rest) if (line !== '') least = Math.min(least, line.length - line.replace(/^ +/, '').length);
  const moved = rest.map((line) => INDENT.slice(least) + line);
  return [first, ...moved].join('\n');
}

function picture(codePoint: number): string {
  if (codePoint < 0x20) return String.fromCodePoint(0x2400 + codePoint); // the block "Control Pictures"
  if (codePoint === 0x7f) return '\u2421';
  return `<U+${codePoint.toString(16).toUpperCase().padStart(4, '0')}>`;
}
