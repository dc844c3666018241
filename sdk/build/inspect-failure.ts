/**
 * Why a plugin did not tell its manifest, shown in the author's own source: the frames that the sandbox gave for the
 * bundle are led back through the source map, packages' and our own cut (design 6.1).
 */
import { readFile } from 'node:fs/promises';
import { codeFrame } from '@flowops/proto/code-frame.ts';
import { MAX_FRAMES } from '@flowops/proto/error-frames.ts';
import { errorInfo } from '@flowops/proto/errors.ts';
import { isAuthors, type SourcePlace, sourcePlaces } from '@flowops/proto/source-map.ts';
import { type BuildFailure, type BuildProblem, buildFailure } from './build-result.ts';
import type { Compiled } from './compile.ts';
import { declarationPlace } from './declaration-place.ts';
import type { InspectFailure } from './inspect-bundle.ts';

const OWN_SDK_PREFIX = 'node_modules/@flowops/';

const GLOBALS_ADVICE =
  "A plugin's top level runs when its manifest is read, in a sandbox without process, require, Buffer, files, environment or network.";

export interface InspectedPlugin {
  readonly compiled: Compiled;
  /** Real path of the entry. */
  readonly file: string;
  readonly display: (file: string) => string;
}

export async function inspectFailure(
  failure: InspectFailure,
  { compiled, file, display }: InspectedPlugin,
): Promise<BuildFailure> {
  const { fault } = errorInfo(failure.code);
  if (fault === 'infrastructure' || fault === 'policy' || failure.code === 'CANCELLED') {
    return buildFailure(failure.code, [{ message: failure.message }]);
  }
  const places = sourcePlaces(failure.stack, compiled.sourceMap);
  const authors = places.filter(isAuthors).slice(0, MAX_FRAMES);
  // An error thrown by the SDK (a decorator's wrong use) says itself what to change.
  const isOurs = places[0]?.source.startsWith(OWN_SDK_PREFIX) === true;
  const advice = failure.code === 'PLUGIN_ERROR' && !isOurs ? [GLOBALS_ADVICE] : [];
  const code = fault === 'limit' ? failure.code : 'PLUGIN_INVALID';
  const frames = authors.slice(1).map((place) => `    at ${shownPlace(place, compiled, display)}`);
  const place =
    authors[0] === undefined
      ? { file: display(file), ...declarationPlace(await readFile(file, 'utf8').catch(() => ''), failure) }
      : await problemPlace(authors[0], compiled, display);
  return buildFailure(code, [{ message: failure.message, ...place, notes: [...frames, ...advice] }]);
}

async function problemPlace(
  place: SourcePlace,
  compiled: Compiled,
  display: (file: string) => string,
): Promise<Omit<BuildProblem, 'message'>> {
  const { line, column } = place;
  const file = compiled.files.get(place.source);
  if (file === undefined) return { file: place.source, line, column };
  const frame = codeFrame(await readFile(file, 'utf8').catch(() => ''), place);
  return { file: display(file), line, column, ...(frame === undefined ? {} : { frame }) };
}

function shownPlace(place: SourcePlace, compiled: Compiled, display: (file: string) => string): string {
  const file = compiled.files.get(place.source);
  return `${file === undefined ? place.source : display(file)}:${place.line}:${place.column}`;
}
