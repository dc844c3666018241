/**
 * Reads a page of the documentation as a list of things to do. What a fence is for stands in its info string, after the
 * language, where GitHub does not show it:
 *
 *   sh                    commands to type; `exit=N` the last one ends so; `terminal=NAME` in another terminal, where the
 *                         last one may go on
 *   text output           what the commands before print; `terminal=NAME` what that terminal has printed by now
 *   LANGUAGE file=PATH    a file to write; `append`: to its end
 *   ts check              a module whose types must be right
 *   anything run=no: WHY  left alone
 *
 * Pure. A page that leaves open what a fence of code is for is wrong, so that nothing is forgotten by accident.
 */

export interface Place {
  readonly page: string;
  /** Of the fence's first line, from 1. */
  readonly line: number;
}

export type PageStep = Place &
  (
    | { readonly kind: 'commands'; readonly text: string; readonly exit: number; readonly terminal: string | undefined }
    | { readonly kind: 'output'; readonly text: string; readonly terminal: string | undefined }
    | { readonly kind: 'file'; readonly text: string; readonly path: string; readonly isAppended: boolean }
    | { readonly kind: 'check'; readonly text: string }
    | { readonly kind: 'left'; readonly text: string; readonly reason: string }
  );

export interface Page {
  readonly name: string;
  readonly steps: readonly PageStep[];
}

interface Fence extends Place {
  readonly language: string;
  readonly info: string;
  readonly text: string;
  /** The paragraph right above. */
  readonly above: string;
}

const CODE = new Set(['sh', 'bash', 'console', 'shell', 'ts', 'js', 'mjs', 'json', 'yaml', 'yml', 'env']);
const FENCE = /^(\s*)(`{3,})\s*([^`]*)$/;
const LEFT = /(?:^|\s)run=no:?\s*(.*)$/;

export class PageError extends Error {
  override readonly name = 'PageError';
  constructor({ page, line }: Place, problem: string) {
    super(`${page}:${line}: ${problem}`);
  }
}

export function readPage(name: string, markdown: string): Page {
  const steps = fencesOf(name, markdown)
    .map(stepOf)
    .filter((step) => step !== undefined);
  return { name, steps: withOwnOutputs(steps) };
}

function fencesOf(page: string, markdown: string): Fence[] {
  const fences: Fence[] = [];
  const lines = markdown.split('\n');
  let above: string[] = [];
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    const opened = FENCE.exec(line);
    if (opened === null) {
      if (line.trim() !== '') above.push(line);
      else if (lines[at + 1]?.trim().startsWith('```') !== true) above = [];
      continue;
    }
    const [, indent = '', ticks = '', words = ''] = opened;
    const start = at;
    const body: string[] = [];
    while (++at < lines.length && lines[at]?.trim() !== ticks)
      body.push((lines[at] ?? '').slice(indentOf(lines[at], indent)));
    if (at >= lines.length) throw new PageError({ page, line: start + 1 }, 'the fence is never closed');
    const [language = ''] = words.trim().split(/\s+/, 1);
    const info = words.trim().slice(language.length).trim();
    fences.push({ page, line: start + 1, language, info, text: `${body.join('\n')}\n`, above: above.join('\n') });
    above = [];
  }
  return fences;
}

/** How much of a line's beginning belongs to the list item that the fence stands in. */
function indentOf(line = '', indent: string): number {
  return Math.min(indent.length, line.length - line.trimStart().length);
}

function stepOf(fence: Fence): PageStep | undefined {
  const { page, line, language, info, text } = fence;
  const place = { page, line };
  const left = LEFT.exec(info);
  if (left !== null) {
    const reason = left[1]?.trim() ?? '';
    if (reason === '') throw new PageError(place, 'run=no needs its reason: run=no: REASON');
    return { ...place, kind: 'left', text, reason };
  }
  const words = wordsOf(place, info);
  const has = (word: string): boolean => words.delete(word);
  const value = (name: string): string | undefined => {
    const found = words.get(name);
    words.delete(name);
    return found;
  };
  const done = <S extends PageStep>(step: S): S => {
    const [unknown] = words.keys();
    if (unknown !== undefined)
      throw new PageError(place, `"${unknown}" says nothing on a fence of ${language || 'nothing'}`);
    return step;
  };

  const path = value('file');
  if (path !== undefined) {
    requireNamed(fence, path);
    return done({ ...place, kind: 'file', text, path, isAppended: has('append') });
  }
  if (language === 'sh') {
    requireForeground(place, text);
    return done({ ...place, kind: 'commands', text, exit: Number(value('exit') ?? 0), terminal: value('terminal') });
  }
  if (language === 'ts' && has('check')) return done({ ...place, kind: 'check', text });
  if (language === 'text' && has('output'))
    return done({ ...place, kind: 'output', text, terminal: value('terminal') });
  if (CODE.has(language)) {
    throw new PageError(place, `what is this ${language} for? Say file=NAME, check (ts) or run=no: REASON after it`);
  }
  done({ ...place, kind: 'left', text, reason: '' });
  return undefined;
}

function wordsOf(place: Place, info: string): Map<string, string> {
  const words = new Map<string, string>();
  for (const word of info.split(/\s+/).filter((one) => one !== '')) {
    const [name = '', ...rest] = word.split('=');
    if (words.has(name)) throw new PageError(place, `"${name}" is there twice`);
    words.set(name, rest.join('='));
  }
  return words;
}

/** A reader sees no info string: the text has to say which file it is. */
function requireNamed({ above, text, ...place }: Fence, path: string): void {
  const base = path.split('/').at(-1) ?? path;
  const first = text.split('\n', 1)[0] ?? '';
  if (above.includes(base) || first.includes(base)) return;
  throw new PageError(place, `the paragraph above does not name the file ${path}, and a reader does not see file=`);
}

function requireForeground(place: Place, text: string): void {
  if (!/[^&]&\s*$/m.test(text)) return;
  throw new PageError(place, 'a command in the background: give it a terminal of its own, terminal=NAME');
}

/** An output belongs to the commands right before it; one that names its terminal, to what goes on there. */
function withOwnOutputs(steps: readonly PageStep[]): PageStep[] {
  return steps.map((step, index) => {
    if (step.kind !== 'output') return step;
    const isTyped = (one: PageStep | undefined): boolean => one?.kind === 'commands' && one.terminal === step.terminal;
    if (step.terminal !== undefined && steps.slice(0, index).some(isTyped)) return step;
    const before = steps[index - 1];
    if (step.terminal === undefined && before?.kind === 'commands') return { ...step, terminal: before.terminal };
    throw new PageError(step, 'an output of no commands: they stand right before it');
  });
}

/**
 * Whether a text is what a page shows: `…` in a line stands for anything in it, a line of `…` alone for any lines.
 * `isOpen`: more may follow.
 */
export function isShown(shown: string, text: string, options: { isOpen: boolean } = { isOpen: false }): boolean {
  const lines = tidy(shown).split('\n');
  const pattern = lines.map((line) => (line.trim() === '…' ? '(?:.*\\n)*?' : `${lineSource(line)}\\n`)).join('');
  return new RegExp(`^${pattern}${options.isOpen ? '' : '$'}`).test(`${tidy(text)}\n`);
}

function lineSource(line: string): string {
  return line.split('…').map(escaped).join('.*');
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}

function tidy(text: string): string {
  return text.replace(/[^\S\n]+$/gm, '').replace(/^\n+|\n+$/g, '');
}
