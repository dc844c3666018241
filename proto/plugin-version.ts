/**
 * What a step's `pluginVersion` may be (design 4.6): one version, or the digest of its bytes; absent, the latest release.
 * There are no ranges: a run pins what it begins with, and what a range means would change under it.
 */
import { isDigest } from './ids.ts';
import { versionSchema } from './manifest.ts';

/** Longer text is none, and is not shown. */
const MAX_TEXT = 80;
const FORMS =
  'name one version exactly, like 1.2.0, or by the sha256:… of its bytes, or leave it out for the latest release';

/** What is wrong with a text that is to name one version, and what to write instead; undefined: nothing. */
export function pluginVersionProblem(text: string): string | undefined {
  if (isDigest(text) || versionSchema.safeParse(text).success) return undefined;
  const shown = JSON.stringify(text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text);
  if (text === 'latest') return `${shown} is no version; leave it out for the latest release`;
  const trimmed = text.trim().replace(/^[v=]\s*/, '');
  if (versionSchema.safeParse(trimmed).success) return `${shown} is no version; write ${trimmed}`;
  if (text.startsWith('sha256:')) return `${shown} is no digest, which is sha256: and 64 hex digits in lower case`;
  if (text.length <= MAX_TEXT && isRange(text)) return `${shown} is a range, and a run pins one version; ${FORMS}`;
  return `${shown} is no version; ${FORMS}`;
}

/** `^1.2.0`, `~1.2`, `>=1 <2`, `1.x`, `1.2`, `*`, `1.0.0 - 2.0.0`, `1.0.0 || 2.0.0`. */
function isRange(text: string): boolean {
  return /^[\^~<>=\s|\d.x*X-]+$/.test(text) && /[\dxX*]/.test(text);
}
