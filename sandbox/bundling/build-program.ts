/**
 * Bundles the programs that a sandbox starts, and the texts in them, with esbuild: loaded only here, so that a start
 * from what was built before does without.
 */
import path from 'node:path';
import { ONE_LANGUAGE } from './one-language.ts';

/** What is built, and the absolute paths of the files it was built from. */
export interface BuiltText {
  readonly text: string;
  readonly inputs: readonly string[];
}

export interface ProgramRequest {
  /** Absolute. */
  readonly entry: string;
  /** `iife`: nothing of it becomes a global. */
  readonly format: 'esm' | 'iife';
  readonly external?: readonly string[];
  /** Modules named `flowops:…` that export one constant text each. */
  readonly texts?: Readonly<Record<string, { readonly constant: string; readonly text: BuiltText }>>;
}

/** zod and protobuf are ES modules; what is CommonJS inside still asks for require. */
const REQUIRE_BANNER =
  "import { createRequire as __createRequire } from 'node:module';\nconst require = __createRequire(import.meta.url);";

/** One file for this Node, with everything in it that is not external. */
export async function buildProgram({ entry, format, external = [], texts = {} }: ProgramRequest): Promise<BuiltText> {
  const { build } = await import('esbuild');
  const result = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    metafile: true,
    absWorkingDir: import.meta.dirname,
    format,
    platform: 'node',
    target: 'node24',
    external: [...external],
    // The text is read at every start; names stay, for what we log of ourselves.
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'silent',
    ...(format === 'esm' ? { banner: { js: REQUIRE_BANNER } } : {}),
    plugins: [
      ONE_LANGUAGE,
      {
        name: 'texts',
        setup: ({ onResolve, onLoad }) => {
          onResolve({ filter: /^flowops:/ }, ({ path: name }) => ({ path: name, namespace: 'texts' }));
          onLoad({ filter: /.*/, namespace: 'texts' }, ({ path: name }) => {
            const found = texts[name];
            if (found === undefined) return { errors: [{ text: `${name} is not given` }] };
            return { contents: `export const ${found.constant} = ${JSON.stringify(found.text.text)};` };
          });
        },
      },
    ],
  });
  const own = inputsOf(result.metafile);
  const inputs = [...own, ...Object.values(texts).flatMap(({ text }) => text.inputs)];
  return { text: result.outputFiles[0]?.text ?? '', inputs: [...new Set(inputs)].sort() };
}

const INJECT = path.join(import.meta.dirname, '..', 'guest', 'inject');
/** Parts of the prelude that most steps never need: `url.ts` has it beside it, `url-part.ts` asks for it. */
const INLINE_PART = /\/(?:url|hashes)\.ts$/;

/** The prelude as one strict expression that gives `boot`, complete. */
export async function buildPrelude(): Promise<BuiltText> {
  return preludeOf(await bundleGuestCode('prelude.ts'));
}

export interface IsolatePrelude {
  readonly core: BuiltText;
  readonly url: BuiltText;
  readonly hashes: BuiltText;
}

/** The same for isolates, each of which gets a copy of the text: what is long and seldom used is a text of its own. */
export async function buildIsolatePrelude(): Promise<IsolatePrelude> {
  const [core, url, hashes] = await Promise.all([
    bundleGuestCode('prelude.ts', true),
    bundleGuestCode('url-module.ts'),
    bundleGuestCode('hashes-module.ts'),
  ]);
  return { core: preludeOf(core), url: partOf(url), hashes: partOf(hashes) };
}

function preludeOf({ text, inputs }: BuiltText): BuiltText {
  const body = `"use strict";var module={exports:{}},exports=module.exports;\n${text}`;
  return { text: `(function(){${body}\nreturn module.exports.boot;})()`, inputs };
}

/** A function body. Its frames have the prelude's name, by which they are cut out of a plugin's stacks. */
function partOf({ text, inputs }: BuiltText): BuiltText {
  const body = `"use strict";var module={exports:{}},exports=module.exports;\n${text}`;
  return { text: `${body}\nreturn module.exports;\n//# sourceURL=flowops:prelude`, inputs };
}

/** Only ASCII, so that V8 keeps it at one byte a character. @param asksForParts see parts.ts */
async function bundleGuestCode(entry: string, asksForParts = false): Promise<BuiltText> {
  const { build } = await import('esbuild');
  const result = await build({
    entryPoints: [path.join(INJECT, entry)],
    bundle: true,
    write: false,
    metafile: true,
    absWorkingDir: import.meta.dirname,
    format: 'cjs',
    // Not "browser": the polyfills would then expect a browser's own encoders.
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2024',
    charset: 'ascii',
    minify: true,
    inject: [path.join(INJECT, 'no-shared-memory.ts')],
    define: { SharedArrayBuffer: 'NoSharedArrayBuffer' },
    legalComments: 'none',
    logLevel: 'silent',
    plugins: asksForParts
      ? [
          {
            name: 'parts',
            setup: ({ onResolve }) => {
              onResolve({ filter: INLINE_PART }, ({ path: name, resolveDir }) =>
                resolveDir === INJECT ? { path: path.join(INJECT, name.replace(/\.ts$/, '-part.ts')) } : undefined,
              );
            },
          },
        ]
      : [],
  });
  return { text: result.outputFiles[0]?.text ?? '', inputs: inputsOf(result.metafile) };
}

function inputsOf(metafile: { inputs: Record<string, unknown> }): string[] {
  const files = Object.keys(metafile.inputs).filter((input) => !input.startsWith('texts:'));
  return files.map((input) => path.resolve(import.meta.dirname, input));
}
