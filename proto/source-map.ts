/**
 * The source map beside a bundle, read to say where in the author's files something went wrong. A map is a stranger's
 * word like the bundle: it names files and reads none. Made by sdk/build/source-map.ts.
 */
import { SourceMap, type SourceMapPayload } from 'node:module';
import { z } from 'zod';
import { parseJson } from './json.ts';

/** What files beyond the author's own are called; also how a frame of the author is told from all others. */
export const PACKAGE_PREFIX = 'node_modules/';

/** Frames are read from the guest's text, so their number is bounded. */
const MAX_STACK_LINES = 50;

export const sourceMapSchema = z.object({
  version: z.literal(3),
  sources: z.array(z.string()),
  names: z.array(z.string()),
  mappings: z.string(),
});

/** A place in a source file; line and column from 1. */
export interface SourcePlace {
  readonly source: string;
  readonly line: number;
  readonly column: number;
}

/**
 * The places in source files that a stack of the bundle names, innermost first; frames of the sandbox are left out.
 * An author's own files are those for which `isAuthors` holds. Empty when the text is no source map.
 */
export function sourcePlaces(stack: string, sourceMap: string): SourcePlace[] {
  const map = readMap(sourceMap);
  if (map === undefined) return [];
  const places: SourcePlace[] = [];
  for (const text of stack.split('\n').slice(0, MAX_STACK_LINES)) {
    const position = /:(\d{1,9}):(\d{1,9})\)?\s*$/.exec(text);
    if (position === null) continue;
    const entry = map.findEntry(Number(position[1]) - 1, Number(position[2]) - 1);
    if (!('originalSource' in entry)) continue;
    places.push({ source: entry.originalSource, line: entry.originalLine + 1, column: entry.originalColumn + 1 });
  }
  return places;
}

export function isAuthors(place: SourcePlace): boolean {
  return !place.source.startsWith(PACKAGE_PREFIX);
}

function readMap(text: string): SourceMap | undefined {
  const json = parseJson(text);
  const parsed = json.ok ? sourceMapSchema.safeParse(json.value).data : undefined;
  if (parsed === undefined) return undefined;
  const payload: SourceMapPayload = { ...parsed, file: '', sourcesContent: [], sourceRoot: '' };
  try {
    return new SourceMap(payload);
  } catch {
    return undefined; // mappings that are none
  }
}
