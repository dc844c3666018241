/**
 * What building a plugin gives, and how its problems read to a person. Shared by every file of this folder; holds no
 * logic of the build itself.
 */
import type { SandboxHost } from '@flowops/proto/attempt.ts';
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { Manifest } from '@flowops/proto/manifest.ts';

/**
 * Gives the sandbox host in which a bundle is evaluated for its manifest. Called only when that is needed (a cached
 * build never calls it), perhaps several times; whoever passes it owns the host and closes it.
 */
export type OpenSandbox = () => Promise<OpenedSandbox>;

export type OpenedSandbox =
  | { readonly ok: true; readonly host: SandboxHost }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

export interface BuildOptions {
  /** Where the manifest is read; called only when the source was not built before. */
  readonly sandbox: OpenSandbox;
  /** `<FLOWOPS_HOME>/cache`; without it nothing is kept. */
  readonly cacheDir?: string;
  readonly signal?: AbortSignal;
  /** Places in messages are relative to it. Default: the working directory. */
  readonly relativeTo?: string;
}

/** One thing that is wrong with a plugin, and where. */
export interface BuildProblem {
  /** What is wrong and what to change. */
  readonly message: string;
  /** As the person would name it: relative to the working directory. */
  readonly file?: string;
  /** From 1. */
  readonly line?: number;
  /** From 1. */
  readonly column?: number;
  /** The lines around that place, the place marked (code-frame.ts). */
  readonly frame?: string;
  /** Shown below the frame: further places, advice. */
  readonly notes?: readonly string[];
}

export interface BuiltPlugin {
  readonly ok: true;
  /** Manifest line and code: what runs, what the digest is of. */
  readonly bundle: Uint8Array;
  /** `sha256:<64 hex>` of the bundle. */
  readonly digest: string;
  readonly manifest: Manifest;
  /** Source map (revision 3) as JSON, without the sources' text; belongs beside the bundle as `<bundle>.map`. */
  readonly sourceMap: string;
  /** Text of the .sig file beside a bundle that was built before. */
  readonly signature?: string;
  readonly warnings: readonly BuildProblem[];
  /** Real paths of the files that are the author's own: a change of one may change the bundle. */
  readonly sources: readonly string[];
}

export interface BuildFailure {
  readonly ok: false;
  /**
   * PLUGIN_NOT_FOUND: there is no such source. PLUGIN_INVALID: the author has to change it. LIMIT_*: its top level ran
   * into a limit. SANDBOX_UNAVAILABLE, PROTOCOL_ERROR: the sandbox could not evaluate it, a later try may work.
   */
  readonly code: ErrorCode;
  /** Everything that is wrong as text of several lines, code frames included; ready to be shown. */
  readonly message: string;
  /** At least one. */
  readonly problems: readonly BuildProblem[];
}

export type BuildResult = BuiltPlugin | BuildFailure;

/** More than a person reads at once. */
const MAX_SHOWN_PROBLEMS = 20;

export function buildFailure(code: ErrorCode, problems: readonly BuildProblem[]): BuildFailure {
  const shown = problems.slice(0, MAX_SHOWN_PROBLEMS).map(formatProblem);
  if (problems.length > shown.length) shown.push(`… and ${problems.length - shown.length} more`);
  return { ok: false, code, message: shown.join('\n\n'), problems };
}

/** `src/query.ts:3:10: what is wrong`, and below it the lines there with a mark under the column. */
export function formatProblem(problem: BuildProblem): string {
  const place = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(':');
  const head = place === '' ? problem.message : `${place}: ${problem.message}`;
  return [head, ...(problem.frame === undefined ? [] : [problem.frame]), ...(problem.notes ?? [])].join('\n');
}
