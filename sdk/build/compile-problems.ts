/**
 * What esbuild could not do, as problems that name the author's file, the reason and the way out. Told apart by what
 * the message points at (the import's text), never by the message's own words.
 */
import { isBuiltin } from 'node:module';
import path from 'node:path';
import type { Message, Metafile } from 'esbuild';
import type { BuildProblem } from './build-result.ts';
import { importChain, lineOfImport } from './import-chain.ts';

const NODE_MODULE_ADVICE = 'Use another package, or set runtime: "node" (container tier only).';
const NATIVE_ADVICE = 'A plugin is one JavaScript file, so native code cannot go with it. Use another package.';
const OUTSIDE_ADVICE = 'A bundle holds all its code: save the file beside the plugin, or install the package it is in.';

/** An import that no bundle can hold: a module of Node, native code. */
export function isUnbundled(specifier: string): boolean {
  return isBuiltin(specifier) || specifier.endsWith('.node');
}

export interface CompileProblems {
  readonly problems: readonly BuildProblem[];
  /** Node's modules are among what is wrong. */
  readonly importsNode: boolean;
}

export interface ExplainRequest {
  readonly messages: readonly Message[];
  /** Folder that the places of the messages are relative to. */
  readonly root: string;
  /** The entry as the metafile names it. */
  readonly entry: string;
  readonly display: (file: string) => string;
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
      problems.push(plainProblem(message, specifier, request));
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
  request: Pick<ExplainRequest, 'root' | 'entry' | 'display'> & { readonly metafile: Metafile },
): Promise<BuildProblem[]> {
  const problems: BuildProblem[] = [];
  for (const [importer, { imports }] of Object.entries(request.metafile.inputs)) {
    for (const { path: target, kind, external } of imports) {
      if (external !== true || kind !== 'import-statement' || isBuiltin(target) || target === '<runtime>') continue;
      const line = await lineOfImport(path.resolve(request.root, importer), target);
      problems.push({ message: `${await importChain({ ...request, importer, line, target })}. ${OUTSIDE_ADVICE}` });
    }
  }
  return problems;
}

export function plainProblem(
  message: Message,
  specifier: string | undefined,
  { root, display }: Pick<ExplainRequest, 'root' | 'display'>,
): BuildProblem {
  const place = message.location;
  const text = message.text + installAdvice(specifier);
  if (place === null) return { message: text };
  const column = Buffer.from(place.lineText).subarray(0, place.column).toString().length + 1;
  const file = display(path.resolve(root, place.file));
  return { message: text, file, line: place.line, column, lineText: place.lineText };
}

async function unbundledProblem(
  message: Message,
  specifier: string,
  metafile: Metafile | undefined,
  request: ExplainRequest,
): Promise<BuildProblem> {
  const isNode = isBuiltin(specifier);
  const target = isNode ? `node:${specifier.replace(/^node:/, '')}` : specifier;
  const advice = isNode ? NODE_MODULE_ADVICE : NATIVE_ADVICE;
  const place = message.location;
  const { root, entry, display } = request;
  if (place === null) return { message: `${target}. ${advice}` };
  if (metafile === undefined) {
    return { message: `${target} ← ${display(path.resolve(root, place.file))}:${place.line}. ${advice}` };
  }
  const chain = await importChain({ metafile, root, entry, importer: place.file, line: place.line, target, display });
  return { message: `${chain}. ${advice}` };
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
