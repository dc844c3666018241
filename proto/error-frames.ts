/**
 * Where in the author's own files an error came from: at most 10 frames, led through the source map, ours and packages'
 * cut, with the lines around the innermost one when its source is at hand (design 6.1). A stack is the plugin's own
 * text: it can only point into files that the map names, and those are read only when this machine built the plugin from
 * them.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { codeFrame } from './code-frame.ts';
import { isAuthors, sourcePlaces } from './source-map.ts';
import { showControls } from './terminal-text.ts';

/** Design 6.1: frames of the author's own files in an error shown to a person. */
export const MAX_FRAMES = 10;

export interface FrameSource {
  /** JSON; empty when the bundle came without one. */
  readonly sourceMap: string;
  /** Of the plugin's entry; undefined for a bundle, whose map is a stranger's. */
  readonly sourceFolder: string | undefined;
}

/** Lines to print below the error, harmless for a terminal; empty when there is nothing to show. */
export async function errorFrames(stack: string, { sourceMap, sourceFolder }: FrameSource): Promise<string> {
  const frames = sourcePlaces(stack, sourceMap).filter(isAuthors).slice(0, MAX_FRAMES);
  const [first, ...others] = frames;
  if (first === undefined) return rawFrames(stack);
  const shown = (source: string) =>
    showControls(
      sourceFolder === undefined ? source : path.relative(process.cwd(), path.resolve(sourceFolder, source)),
    );
  const lines = [`${shown(first.source)}:${first.line}:${first.column}: thrown here`];
  if (sourceFolder !== undefined) {
    // Moved or deleted meanwhile: no line to show.
    const text = await readFile(path.resolve(sourceFolder, first.source), 'utf8').catch(() => '');
    const frame = text === '' ? undefined : codeFrame(text, first);
    if (frame !== undefined) lines.push(showControls(frame, { keepLines: true }));
  }
  for (const { source, line, column } of others) lines.push(`    at ${shown(source)}:${line}:${column}`);
  return lines.join('\n');
}

/** Without a map the bundle's own frames are better than nothing. */
function rawFrames(stack: string): string {
  return stack
    .split('\n')
    .filter((line) => /^\s*at\s/.test(line))
    .slice(0, MAX_FRAMES)
    .map((line) => `    ${showControls(line.trim())}`)
    .join('\n');
}
