/** `sandbox run --watch` as a person sees it: the files that are followed, and what is said around each run. */
import path from 'node:path';
import { FlowopsError } from '@flowops/proto/errors.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import { findPluginEntry } from '@flowops/sdk/build/plugin-entry.ts';
import {
  failed,
  loadPlugin,
  type RanPlugin,
  type RunPluginOptions,
  type RunPluginParts,
  runLoaded,
} from './run-plugin.ts';
import { SourceWatch } from './source-watch.ts';
import { type WatchedPlugin, watchPlugin } from './watch-plugin.ts';

/** Changed files named in one line. */
const MAX_NAMED = 3;

export interface WatchCommand {
  readonly run: RunPluginOptions;
  readonly around: RunPluginParts;
  /** The inputs as they are given now. */
  readonly readInputs: () => Promise<JsonObject>;
  /** `--inputs`. */
  readonly inputsFile: string | undefined;
  readonly print: (ran: RanPlugin) => void;
  readonly say: (line: string) => void;
}

/** Until the first Ctrl-C. Gives what ended it before anything could be watched. */
export async function sandboxWatch({ run, around, ...command }: WatchCommand): Promise<RanPlugin | undefined> {
  const { print, say } = command;
  const entry = await findPluginEntry(run.plugin);
  if (!entry.ok) {
    const ran = failed(entry.code, entry.message);
    print(ran);
    return ran;
  }
  const { inputsFile } = command;
  const beside = inputsFile === undefined || inputsFile === '-' ? [] : [path.resolve(inputsFile)];
  const files = new Set([entry.file, ...beside]);
  const changes = new SourceWatch();
  try {
    await watchPlugin({
      changes,
      stop: around.stop,
      load: async () => {
        const loaded = await load({ run, around, readInputs: command.readInputs });
        // Those of the last good build stay: what is wrong now may be in any of them.
        if (loaded.ok) for (const file of loaded.plugin.built.sources) files.add(file);
        return { loaded, files: [...files] };
      },
      run: (plugin, inputs, stop) => runLoaded(plugin, { ...run, inputs }, { ...around, stop }),
      onChange: (names) => {
        if (names.length > 0) say(`\nchanged: ${namesText(names)}`);
      },
      onNotBuilt: (ran, goesOn) => {
        print(ran);
        say(goesOn ? 'the run of the last good build goes on; watching' : WAITING);
      },
      onReplaced: () => say('stopping the run of the build before'),
      onRan: (ran) => {
        print(ran);
        if (!around.stop.aborted) say(WAITING);
      },
    });
  } finally {
    changes.close();
  }
  return undefined;
}

const WAITING = 'watching for changes (Ctrl-C ends)';

type Loading = Pick<WatchCommand, 'run' | 'around' | 'readInputs'>;

async function load({ run, around, readInputs }: Loading): Promise<WatchedPlugin> {
  const loaded = await loadPlugin(run, around);
  if (!loaded.ok) return loaded;
  try {
    return { ...loaded, inputs: await readInputs() };
  } catch (thrown) {
    if (thrown instanceof FlowopsError) return { ok: false, ran: failed(thrown.code, thrown.message) };
    throw thrown;
  }
}

function namesText(names: readonly string[]): string {
  const named = names.slice(0, MAX_NAMED).map((name) => showControls(name));
  return named.join(', ') + (names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : '');
}
