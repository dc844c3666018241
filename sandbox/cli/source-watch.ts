/**
 * Tells when files that a plugin is made of may have changed. Watches the folders that hold them: an editor that saves
 * by renaming replaces the file, the folder stays. Says "perhaps" only; whether anything did change is told by the build.
 *
 * Invariant: what happens after a folder is first followed is told by the next `next`, and so is that it was not followed
 * before (it may have changed since it was read).
 */
import { type FSWatcher, watch } from 'node:fs';
import path from 'node:path';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';

/** Editors and formatters write a file several times in a row. */
const SETTLE_MS = 100;
/** A plugin has a handful; each is a watch of the kernel. */
const MAX_FOLDERS = 500;
/** What can be imported; editors' own files beside it are left out. */
const SOURCE_NAME = /\.(?:[cm]?[jt]sx?|json)$/;

export class SourceWatch {
  readonly #settleMs: number;
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #changed = new Set<string>();
  #files: ReadonlySet<string> = new Set();
  #isBehind = false;
  #wake: (() => void) | undefined;

  constructor(settleMs = SETTLE_MS) {
    this.#settleMs = settleMs;
  }

  /**
   * Follows these files, and whatever can be imported beside them, instead of those before.
   * @throws FlowopsError CONFIG_INVALID when the machine allows no more watches
   */
  follow(files: readonly string[]): void {
    this.#files = new Set(files);
    const folders = new Set(files.map((file) => path.dirname(file)).slice(0, MAX_FOLDERS));
    for (const [folder, watcher] of this.#watchers) {
      if (folders.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of folders) {
      if (this.#watchers.has(folder)) continue;
      this.#watchers.set(folder, this.#open(folder));
      this.#isBehind = true;
    }
  }

  /** The names of what may have changed since the last call, when things are quiet again; empty after an abort. */
  async next(signal: AbortSignal): Promise<readonly string[]> {
    if (signal.aborted) return [];
    if (!this.#isBehind && this.#changed.size === 0) await this.#wait(signal, undefined);
    this.#isBehind = false;
    for (let before = -1; before !== this.#changed.size && !signal.aborted; ) {
      before = this.#changed.size;
      await this.#wait(signal, this.#settleMs);
    }
    const names = [...this.#changed];
    this.#changed.clear();
    return names;
  }

  /** Idempotent. */
  close(): void {
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #open(folder: string): FSWatcher {
    try {
      const watcher = watch(folder, (_event, name) => this.#onEvent(folder, name));
      watcher.on('error', () => watcher.close()); // the folder has gone: a build that needs it says so
      return watcher;
    } catch (thrown) {
      throw new FlowopsError('CONFIG_INVALID', `${folder} cannot be watched: ${messageOf(thrown)}`, { cause: thrown });
    }
  }

  #onEvent(folder: string, name: string | null): void {
    if (name !== null && !this.#files.has(path.join(folder, name)) && !SOURCE_NAME.test(name)) return;
    this.#changed.add(name ?? path.basename(folder));
    this.#wake?.();
  }

  /** Until an event, an abort, or the time is over. */
  #wait(signal: AbortSignal, timeoutMs: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.#wake = undefined;
        resolve();
      };
      const timer = timeoutMs === undefined ? undefined : setTimeout(done, timeoutMs);
      this.#wake = timeoutMs === undefined ? done : undefined;
      signal.addEventListener('abort', done, { once: true });
    });
  }
}
