/**
 * Where in the author's own files an error came from: at most 10 frames, led through the source map, ours and packages'
 * cut, with the line of the innermost one when its source is at hand (design 6.1). A stack is the plugin's own text: it
 * can only point into files that the map names, and those are read only when this command built the plugin from them.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { showControls } from '@flowops/proto/terminal-text.ts';
import { formatProblem } from '@flowops/sdk/build/build-result.ts';
import { isAuthors, sourcePlaces } from '@flowops/sdk/build/source-map.ts';

const MAX_FRAMES = 10;

export interface FrameSource {
  /** JSON; empty when the bundle came without one. */
  readonly sourceMap: string;
  /** Of the plugin's entry; undefined for a bundle, whose map is a stranger's. */
  readonly sourceFolder: string | undefined;
}

/** Lines to print below the error; empty when there is nothing to show. */
export async function errorFrames(stack: string, { sourceMap, sourceFolder }: FrameSource): Promise<string> {
  const places = sourceMap === '' ? [] : placesOf(stack, sourceMap);
  const frames = places.filter(isAuthors).slice(0, MAX_FRAMES);
  const [first, ...others] = frames;
  if (first === undefined) return rawFrames(stack);
  const place = (source: string) =>
    showControls(
      sourceFolder === undefined ? source : path.relative(process.cwd(), path.resolve(sourceFolder, source)),
    );
  const lineText =
    sourceFolder === undefined ? undefined : await lineOf(path.resolve(sourceFolder, first.source), first.line);
  const head = formatProblem({
    message: 'thrown here',
    file: place(first.source),
    line: first.line,
    column: first.column,
    ...(lineText === undefined ? {} : { lineText: showControls(lineText, { keepLines: true }) }),
  });
  return [head, ...others.map(({ source, line, column }) => `    at ${place(source)}:${line}:${column}`)].join('\n');
}

function placesOf(stack: string, sourceMap: string): ReturnType<typeof sourcePlaces> {
  try {
    return sourcePlaces(stack, sourceMap);
  } catch {
    return []; // a map beside a bundle may be anything; an error is shown without it
  }
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

async function lineOf(file: string, line: number): Promise<string | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined); // moved or deleted meanwhile: no line to show
  return text?.split('\n')[line - 1]?.replace(/\r$/, '');
}
