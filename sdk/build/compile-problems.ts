/**
 * What esbuild could not do, as problems that name the author's file, the reason and the way out. Told apart by what
 * the message points at (the import's text), never by the message's own words.
 */
import { readFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import path from 'node:path';
import { codeFrame, lineFrame } from '@flowops/proto/code-frame.ts';
import type { Message, Metafile } from 'esbuild';
import type { BuildProblem } from './build-result.ts';
import { importChain, placeOfImport } from './import-chain.ts';

const NODE_MODULE_ADVICE = 'Use another package, or set runtime: "node" (container tier only).';
const NATIVE_ADVICE = 'A plugin is one JavaScript file, so native code cannot go with it. Use another package.';
const OUTSIDE_ADVICE = 'A bundle holds all its code: save the file beside the plugin, or install the package it is in.';
const SDK = '@flowops/sdk';

/** An import that no bundle can hold: a module of Node, native code. */
export function isUnbundled(specifier: string): boolean {
  return isBuiltin(specifier) || specifier.endsWith('.node');
}

export interface CompileProblems {
  readonly problems: readonly BuildProblem[];
  /** Node's modules are among what is wrong. */
  readonly importsNode: boolean;
}

/** Where places are looked for, and how they are told. */
export interface Places {
  /** Folder that the places of the messages are relative to. */
  readonly root: string;
  readonly display: (file: string) => string;
  /** The file of the SDK that a message calls by its path. */
  readonly sdkFile: string;
}

export interface ExplainRequest extends Places {
  readonly messages: readonly Message[];
  /** The entry as the metafile names it. */
  readonly entry: string;
  /** Builds once more without the imports that cannot be had; undefined when other errors stop that too. */
  readonly graph: () => Promise<Metafile | undefined>;
}

export async function explainMessages(request: ExplainRequest): Promise<CompileProblems> {
  const problems: BuildProblem[] = [];
  let metafile: Promise<Metafile | undefined> | undefined;
  let importsNode = false;
  for (const message of request.messages) {
    const specifier = importedAt(message);
    if (specifier === undefined || !isUnbundled(specifier)) {
      problems.push(await plainProblem(message, request));
      continue;
    }
    importsNode ||= isBuiltin(specifier);
    metafile ??= request.graph();
    problems.push(await unbundledProblem(message, specifier, await metafile, request));
  }
  return { problems: withoutRepeats(problems), importsNode };
}

/** Imports that esbuild leaves to the run: a URL. (A module of Node stays only where the target has it.) */
export async function outsideProblems(
  request: Places & { readonly entry: string; readonly metafile: Metafile },
): Promise<BuildProblem[]> {
  const problems: BuildProblem[] = [];
  for (const [importer, { imports }] of Object.entries(request.metafile.inputs)) {
    for (const { path: target, kind, external } of imports) {
      if (external !== true || kind !== 'import-statement' || isBuiltin(target) || target === '<runtime>') continue;
      const { line, column } = await placeOfImport(path.resolve(request.root, importer), target);
      const chain = await importChain({ ...request, importer, line, column, target });
      problems.push({ message: `${chain.text}. ${OUTSIDE_ADVICE}`, ...chain.framed });
    }
  }
  return problems;
}

export async function plainProblem(message: Message, { root, display, sdkFile }: Places): Promise<BuildProblem> {
  const place = message.location;
  const specifier = importedAt(message);
  const text = message.text.replace(`"${path.relative(root, sdkFile)}"`, `"${SDK}"`) + installAdvice(specifier);
  // "Did you mean to import …?". What esbuild advises about a missing file is how to configure esbuild.
  const hints = specifier === undefined ? message.notes.map((note) => note.text) : [];
  const told = hints.length === 0 ? {} : { notes: hints };
  if (place === null) return { message: text, ...told };
  const column = Buffer.from(place.lineText).subarray(0, place.column).toString().length + 1;
  const file = path.resolve(root, place.file);
  const at = { line: place.line, column };
  const source = await readFile(file, 'utf8').catch(() => ''); // a module that is no file has its line only
  const frame = codeFrame(source, at) ?? lineFrame(place.lineText, at);
  return { message: text, file: display(file), ...at, frame, ...told };
}

async function unbundledProblem(
  message: Message,
  specifier: string,
  metafile: Metafile | undefined,
  request: ExplainRequest,
): Promise<BuildProblem> {
  const isNode = isBuiltin(specifier);
  const target = isNode ? `node:${specifier.replace(/^node:/, '')}` : specifier;
  const usual = isNode ? NODE_MODULE_ADVICE : NATIVE_ADVICE;
  const place = message.location;
  const { root, entry, display } = request;
  if (place === null) return { message: `${target}. ${usual}` };
  const column = place.column + 1;
  const graph = metafile ?? { inputs: {}, outputs: {} };
  const chain = await importChain({
    ...{ metafile: graph, root, entry, importer: place.file, line: place.line, column, target, display },
  });
  const native = chain.native === undefined ? usual : `${chain.native} is native code. ${NATIVE_ADVICE}`;
  return { message: `${chain.text}. ${isNode ? native : usual}`, ...chain.framed };
}

/** The text of the import that a message points at: esbuild marks the quoted specifier. */
function importedAt(message: Message): string | undefined {
  const place = message.location;
  if (place === null) return undefined;
  const marked = Buffer.from(place.lineText)
    .subarray(place.column, place.column + place.length)
    .toString();
  return /^(["'`])(.*)\1$/.exec(marked)?.[2];
}

function installAdvice(specifier: string | undefined): string {
  if (specifier === undefined || !/^[@a-zA-Z0-9]/.test(specifier)) return '';
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  return `. Where it is not installed: npm install ${name}`;
}

function withoutRepeats(problems: readonly BuildProblem[]): BuildProblem[] {
  return [...new Map(problems.map((problem) => [JSON.stringify(problem), problem])).values()];
}
