/**
 * A policy file that is watched: the policy in force is the last one that loaded.
 *
 * Invariants:
 *   P1. There is always a policy in force: a file that does not load at start ends the start, one that does not load
 *       later leaves the former policy in force and is logged.
 *   P2. A file is read after it stayed the same for one poll, so that half a file is not taken for the whole.
 * Polling by stat instead of fs.watch: it sees a replaced file, a swapped symlink (mounted ConfigMaps) and network
 * file systems alike.
 */
import { stat } from 'node:fs/promises';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import type { Policy, PolicyLog, PolicySource } from './decision.ts';
import { formatProblem, type PolicyProblem } from './document.ts';
import { type LoadedPolicy, type LoadOptions, loadPolicy } from './load.ts';

/** Soon enough for a person who waits for it; one stat a second costs nothing. */
const POLL_MS = 1000;
/** A broken file may have a problem per line; the log gets the first ones. */
const MAX_LOGGED_PROBLEMS = 20;

export interface WatchOptions extends Pick<LoadOptions, 'docker'> {
  readonly file: string;
  readonly log: PolicyLog;
  readonly pollMs?: number;
}

/** @throws FlowopsError CONFIG_INVALID with every problem of the file. */
export async function watchPolicyFile(options: WatchOptions): Promise<PolicySource> {
  const { file, log, pollMs = POLL_MS, docker } = options;
  const load = () => loadPolicy(file, docker === undefined ? {} : { docker });
  const stamp = await stampOf(file);
  const loaded = await load();
  if (!loaded.ok)
    throw new FlowopsError(
      'CONFIG_INVALID',
      `the sandbox policy is not valid:\n${linesOf(loaded.problems)
        .map((line) => `  ${line}`)
        .join('\n')}`,
    );
  warn(log, loaded.warnings);
  return new WatchedFile({ file, stamp, loaded, log, pollMs, load });
}

type Load = () => ReturnType<typeof loadPolicy>;

class WatchedFile implements PolicySource {
  readonly #file: string;
  readonly #log: PolicyLog;
  readonly #load: Load;
  readonly #listeners = new Set<(policy: Policy) => void>();
  readonly #timer: NodeJS.Timeout;
  #policy: Policy;
  /** Of the file that was last read, whether it loaded or not. */
  #readStamp: string;
  /** Of the file at the last poll. */
  #seenStamp: string;
  #polling: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: {
    file: string;
    stamp: string;
    loaded: LoadedPolicy;
    log: PolicyLog;
    pollMs: number;
    load: Load;
  }) {
    this.#file = options.file;
    this.#log = options.log;
    this.#load = options.load;
    this.#policy = options.loaded.policy;
    this.#readStamp = options.stamp;
    this.#seenStamp = options.stamp;
    this.#timer = setInterval(() => {
      this.#polling ??= this.#poll()
        .catch((thrown: unknown) => this.#log.error(`the sandbox policy was not reloaded: ${messageOf(thrown)}`))
        .finally(() => {
          this.#polling = undefined;
        });
    }, options.pollMs);
    this.#timer.unref();
  }

  current(): Policy {
    return this.#policy;
  }

  onChange(listener: (policy: Policy) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#listeners.clear();
    await this.#polling;
  }

  async #poll(): Promise<void> {
    const stamp = await stampOf(this.#file);
    const isSettled = stamp === this.#seenStamp; // P2
    this.#seenStamp = stamp;
    if (!isSettled || stamp === this.#readStamp) return;
    this.#readStamp = stamp;
    const result = await this.#load();
    if (this.#isClosed) return;
    if (!result.ok) {
      const what = 'the sandbox policy was not reloaded, and the former one stays in force';
      for (const problem of linesOf(result.problems)) this.#log.error(`${what}: ${problem}`);
      return;
    }
    warn(this.#log, result.warnings);
    const isSame = result.policy.policyHash === this.#policy.policyHash;
    this.#policy = result.policy; // also when the meaning is the same: its lines may have moved
    if (isSame) return;
    this.#log.info(`the sandbox policy ${this.#file} was reloaded (${result.policy.policyHash})`);
    for (const listener of this.#listeners) listener(result.policy);
  }
}

/** Changes whenever the file is written, replaced, removed or comes back. */
async function stampOf(file: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs } = await stat(file, { bigint: true });
    return `${dev}:${ino}:${size}:${mtimeNs}`;
  } catch {
    return 'absent';
  }
}

function warn(log: PolicyLog, warnings: readonly PolicyProblem[]): void {
  for (const problem of linesOf(warnings)) log.warn(`the sandbox policy loads, but: ${problem}`);
}

/** Each a line of its own in the log, so that a search for the file finds them all. */
function linesOf(problems: readonly PolicyProblem[]): string[] {
  const lines = problems.slice(0, MAX_LOGGED_PROBLEMS).map(formatProblem);
  if (problems.length > MAX_LOGGED_PROBLEMS) lines.push(`and ${problems.length - MAX_LOGGED_PROBLEMS} more`);
  return lines;
}
