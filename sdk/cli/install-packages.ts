/**
 * `npm install` in a new plugin's folder, once, by the npm that the author has. Owns the process and its end; what is
 * said about it is the command's business. npm's own words are kept for the case that it fails.
 */
import { spawn } from 'node:child_process';

/** A slow line takes a minute or two for vitest; beyond this nobody waits any more. */
const INSTALL_TIMEOUT_MS = 5 * 60_000;
/** npm's usual two more tries with pauses up to a minute keep somebody without a network waiting for nothing. */
const RETRY_PAUSE_MS = { min: 1_000, max: 5_000 };
/** Of what npm says, enough for its last words. */
const MAX_KEPT_CHARS = 64 * 1024;
const MAX_SHOWN_LINES = 6;

export type InstallResult =
  | { readonly kind: 'installed' }
  /** There is no npm in PATH. */
  | { readonly kind: 'no-npm' }
  /** The last lines of what npm said, without its prefixes. */
  | { readonly kind: 'failed'; readonly detail: string }
  | { readonly kind: 'interrupted' };

export interface InstallOptions {
  readonly signal: AbortSignal;
  /** Default: this process's. */
  readonly env?: NodeJS.ProcessEnv;
  readonly timeoutMs?: number;
}

export async function installPackages(folder: string, options: InstallOptions): Promise<InstallResult> {
  const { signal, env = process.env, timeoutMs = INSTALL_TIMEOUT_MS } = options;
  const ending = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  // The prefix is told, or an outer `npx` would have this install where it was started itself.
  const args = ['install', '--prefix', folder, '--no-audit', '--no-fund', '--loglevel=error', ...retries()];
  const child = spawn('npm', args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'], signal: ending });
  let said = '';
  const keep = (text: string): void => {
    said = (said + text).slice(-MAX_KEPT_CHARS);
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  return await new Promise((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (signal.aborted) resolve({ kind: 'interrupted' });
      else if (ending.aborted) resolve({ kind: 'failed', detail: `npm was not done after ${timeoutMs / 1000} s` });
      else if (error.code === 'ENOENT') resolve({ kind: 'no-npm' });
      else resolve({ kind: 'failed', detail: error.message });
    });
    child.once('close', (code) => {
      if (signal.aborted) resolve({ kind: 'interrupted' });
      else if (code === 0) resolve({ kind: 'installed' });
      else resolve({ kind: 'failed', detail: lastWords(said) || `npm ended with code ${code}` });
    });
  });
}

function retries(): string[] {
  const { min, max } = RETRY_PAUSE_MS;
  return ['--fetch-retries=1', `--fetch-retry-mintimeout=${min}`, `--fetch-retry-maxtimeout=${max}`];
}

/** Where its log lies is no help to an author; what it could not get is. */
function lastWords(said: string): string {
  const lines = said
    .split('\n')
    .map((line) => line.replace(/^npm (?:error|ERR!|warn|WARN) ?/, '').trimEnd())
    .filter((line) => line !== '' && !/^(?:A complete log|Log files were)|_logs[\\/]/.test(line));
  return lines.slice(0, MAX_SHOWN_LINES).join('\n');
}
