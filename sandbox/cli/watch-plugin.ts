/**
 * `sandbox run --watch`: build and run, and again at every change. Knows nothing of terminals, processes and file events:
 * what it needs comes in as WatchParts.
 *
 * Invariants: (1) a failed build is told and ends nothing: the run of the last good one goes on. (2) One run at a time: a
 * new one starts when the one before has ended. (3) What came out the same is not run again.
 */
import type { JsonObject } from '@flowops/proto/json.ts';
import type { LoadedPlugin, LoadResult, RanPlugin } from './run-plugin.ts';

export interface Changes {
  /** Follows these files instead of those before. */
  follow(files: readonly string[]): void;
  /** Names of what may have changed; resolves at the next change, or an abort. */
  next(signal: AbortSignal): Promise<readonly string[]>;
}

/** The plugin and its inputs as they are now. */
export type WatchedPlugin =
  | { readonly ok: true; readonly plugin: LoadedPlugin; readonly inputs: JsonObject }
  | Extract<LoadResult, { ok: false }>;

export interface WatchedLoad {
  readonly loaded: WatchedPlugin;
  /** What it was read from; of a failed one, what is known. */
  readonly files: readonly string[];
}

export interface WatchParts {
  readonly changes: Changes;
  /** Ends the watch, and the run that goes on. */
  readonly stop: AbortSignal;
  load(): Promise<WatchedLoad>;
  /** One attempt. Ends soon after the signal. */
  run(plugin: LoadedPlugin, inputs: JsonObject, stop: AbortSignal): Promise<RanPlugin>;
  /** Something is about to be run or told because these changed; empty the first time. */
  onChange(names: readonly string[]): void;
  /** @param goesOn a run of the last good build. */
  onNotBuilt(ran: RanPlugin, goesOn: boolean): void;
  /** A run is told to stop, because there is a newer build. */
  onReplaced(): void;
  onRan(ran: RanPlugin): void;
}

interface Running {
  readonly abort: AbortController;
  /** What the run ended with was told. */
  readonly told: Promise<void>;
  isOver: boolean;
}

/** Until `parts.stop`. Rejects only for what is broken here. */
export async function watchPlugin(parts: WatchParts): Promise<void> {
  const { changes, stop } = parts;
  let running: Running | undefined;
  /** What was told or run last. */
  let last: string | undefined;
  try {
    for (let names: readonly string[] = []; !stop.aborted; names = await changes.next(stop)) {
      const { loaded, files } = await parts.load();
      if (stop.aborted) break;
      changes.follow(files);
      const key = keyOf(loaded);
      // A failure is told again when somebody saved again, but not because a folder is new to the watch.
      if (key === last && (loaded.ok || names.length === 0)) continue;
      last = key;
      parts.onChange(names);
      if (!loaded.ok) {
        parts.onNotBuilt(loaded.ran, running?.isOver === false);
        continue;
      }
      if (running?.isOver === false) {
        parts.onReplaced();
        await end(running);
      }
      if (!stop.aborted) running = begin(parts, loaded.plugin, loaded.inputs);
    }
  } finally {
    await end(running);
  }
}

function keyOf(loaded: WatchedPlugin): string {
  if (loaded.ok) return `${loaded.plugin.built.digest} ${JSON.stringify(loaded.inputs)}`;
  return `failed: ${loaded.ran.report.error}`;
}

function begin(parts: WatchParts, plugin: LoadedPlugin, inputs: JsonObject): Running {
  const abort = new AbortController();
  const told = parts.run(plugin, inputs, abort.signal).then((ran) => {
    running.isOver = true;
    // How a run ended that had to make room is no news; how one ended under Ctrl-C is.
    if (!abort.signal.aborted || parts.stop.aborted) parts.onRan(ran);
  });
  const running: Running = { abort, told, isOver: false };
  told.catch(() => undefined); // whoever ends it is told
  return running;
}

async function end(running: Running | undefined): Promise<void> {
  running?.abort.abort();
  await running?.told;
}
