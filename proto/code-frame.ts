/**
 * A few lines of a source with a mark under the place that is meant, for a person. Pure; the lines come through as they
 * are, so whoever prints a stranger's source shows its control characters (terminal-text.ts).
 */

/** What a person needs to find the place again, and no more. */
const LINES_BEFORE = 2;
const LINES_AFTER = 1;
/** Wider source lines (minified packages) are cut around the column. */
const MAX_COLUMNS = 120;

export interface FramedPlace {
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 units; absent: the whole line is meant. */
  readonly column?: number;
}

/** @param source the whole file. Undefined when it has no such line. */
export function codeFrame(source: string, place: FramedPlace): string | undefined {
  const lines = source.split('\n');
  if (place.line < 1 || place.line > lines.length) return undefined;
  const first = Math.max(1, place.line - LINES_BEFORE);
  return frame(lines.slice(first - 1, place.line + LINES_AFTER), first, place);
}

/** The same where only the line itself is at hand. */
export function lineFrame(text: string, place: FramedPlace): string {
  return frame([text], place.line, place);
}

function frame(lines: readonly string[], first: number, { line, column }: FramedPlace): string {
  const width = String(first + lines.length - 1).length;
  const isWide = (lines[line - first]?.length ?? 0) > MAX_COLUMNS;
  const start = isWide ? Math.max(0, (column ?? 1) - 1 - MAX_COLUMNS / 2) : 0;
  const shown: string[] = [];
  for (const [index, text] of lines.entries()) {
    const number = first + index;
    const cut = text
      .replaceAll('\t', ' ')
      .replace(/\r$/, '')
      .slice(start, start + MAX_COLUMNS);
    const isMeant = number === line;
    if (!isMeant && number > line && cut.trim() === '') continue; // the end of the file, or of a paragraph
    shown.push(`${isMeant && column === undefined ? '>' : ' '} ${String(number).padStart(width)} | ${cut}`.trimEnd());
    if (isMeant && column !== undefined) shown.push(`  ${' '.repeat(width)} | ${' '.repeat(column - 1 - start)}^`);
  }
  return shown.join('\n');
}
