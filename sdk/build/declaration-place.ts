/**
 * Where in a plugin's file something is declared, found by its text alone: for problems that have no stack, because
 * nothing was thrown. A guess that is shown and decides nothing; where the text does not tell, there is no place.
 */
import { codeFrame } from '@flowops/proto/code-frame.ts';
import type { BuildProblem } from './build-result.ts';
import type { InspectFailure } from './inspect-bundle.ts';

export type DeclaredPlace = Pick<BuildProblem, 'line' | 'column' | 'frame'>;

/** How a task begins; `@TaskType` also where its parentheses were forgotten. */
const TASK = /@(?:[\w$]+\.)?TaskType\b|\bdefineTask\(/;
const COMMENT = /^\s*(?:\/\/|\/?\*)/;

/** The task of that number, from 0. */
export function taskPlace(source: string, index: number): DeclaredPlace {
  const line = linesOf(source).filter(({ text }) => TASK.test(text))[index];
  return line === undefined ? {} : placed(source, line.number);
}

/** The field or class that a problem of the declaration names first, else the task. */
export function declarationPlace(source: string, { code, message }: Pick<InspectFailure, 'code' | 'message'>) {
  if (code !== 'PLUGIN_INVALID') return {};
  for (const [, name = ''] of message.matchAll(/"([A-Za-z_$][\w$]*)"/g)) {
    const declared = new RegExp(
      `^(.*?(?:\\bclass\\s+)?)(?<![\\w$.'"])#?${name.replaceAll('$', '\\$')}\\s*(?:[!?]?\\s*[:=;(]|\\bextends\\b|$)`,
    );
    for (const { number, text } of linesOf(source)) {
      const found = declared.exec(text);
      if (found !== null) return placed(source, number, (found[1] ?? '').length + 1);
    }
  }
  return taskPlace(source, 0);
}

function linesOf(source: string): { readonly number: number; readonly text: string }[] {
  return source
    .split('\n')
    .map((text, index) => ({ number: index + 1, text }))
    .filter(({ text }) => !COMMENT.test(text) && !/^\s*import\b/.test(text));
}

function placed(source: string, line: number, column?: number): DeclaredPlace {
  const at = column === undefined ? { line } : { line, column };
  const frame = codeFrame(source, at);
  return frame === undefined ? {} : { ...at, frame };
}
