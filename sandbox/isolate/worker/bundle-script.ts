/**
 * A bundle as a script in place of a module: isolated-vm uses a code cache for scripts only, and compiling a large
 * bundle takes ten times as long without one. The text between the first line and the final `export` is kept as it is,
 * line by line, inside a strict function, which has a module's rules but for top-level await, import.meta and further
 * imports and exports. Those are syntax errors in it; the caller then compiles the module.
 *
 * What a bundle could do with a text made for this it can do without: it is evaluated at the same moment, in the same
 * isolate, under the same limits.
 */

/** Below it, compiling is cheap and a module stays a module. */
const LEAST_SCRIPT_LENGTH = 64 * 1024;
/** What esbuild ends a bundle with; a map's place may follow. */
const FINAL_EXPORT = /\nexport ?\{([^{}]{1,4096})\};?\s*(?:\/\/# sourceMappingURL=[^\n]{0,1024}\s*)?$/;
const DEFAULT_EXPORT = /(?:^|,)\s*([A-Za-z_$][\w$]*) as default\s*(?:,|$)/;
/** A comment in scripts, operators in modules; the closing one only as the first thing of a line. */
const HTML_COMMENT = /<!--|(?:^|\*\/)\s*-->/m;
/** The final export is looked for at the end only: searching megabytes for it would cost what is saved. */
const TAIL_LENGTH = 8 * 1024;

/** Undefined: to be compiled as the module it is. */
export function bundleScript(source: string): string | undefined {
  if (source.length < LEAST_SCRIPT_LENGTH || HTML_COMMENT.test(source)) return undefined;
  const firstLineEnd = source.indexOf('\n');
  const tailStart = Math.max(firstLineEnd, source.length - TAIL_LENGTH);
  const final = FINAL_EXPORT.exec(source.slice(tailStart));
  const exported = DEFAULT_EXPORT.exec(final?.[1] ?? '')?.[1];
  if (final === null || exported === undefined || firstLineEnd < 0) return undefined;
  const body = source.slice(firstLineEnd, tailStart + final.index);
  // In parentheses V8 compiles the function at once, and its code is in the cache.
  return `(function(){"use strict";${body}\nreturn{loaded:true,plugin:{default:${exported}}}})`;
}
