/**
 * The source map beside a bundle: made from esbuild's, and read to say where in the author's files something went wrong.
 * It holds no sources' text and no path of this machine.
 */
import { SourceMap, type SourceMapPayload } from 'node:module';
import { z } from 'zod';
import { PACKAGE_PREFIX, type SourceNames } from './source-names.ts';

const mapSchema = z.object({
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

/** esbuild's map with stable names, moved down by the manifest line. */
export function bundleSourceMap(esbuildMap: string, names: SourceNames): string {
  const map = mapSchema.parse(JSON.parse(esbuildMap));
  return JSON.stringify({
    version: 3,
    sources: map.sources.map((source) => names.get(source) ?? source),
    names: map.names,
    mappings: `;${map.mappings}`,
  });
}

/** Frames are read from the guest's text, so their number is bounded. */
const MAX_STACK_LINES = 50;

/**
 * The places in source files that a stack of the bundle names, innermost first; frames of the sandbox are left out.
 * An author's own files are those for which `isAuthors` holds.
 */
export function sourcePlaces(stack: string, sourceMap: string): SourcePlace[] {
  const parsed = sourceMap === '' ? undefined : mapSchema.safeParse(JSON.parse(sourceMap)).data;
  if (parsed === undefined) return [];
  const payload: SourceMapPayload = { ...parsed, file: '', sourcesContent: [], sourceRoot: '' };
  const map = new SourceMap(payload);
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
