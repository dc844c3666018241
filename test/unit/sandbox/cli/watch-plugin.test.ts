/** `sandbox run --watch` driven by hand: what is built, run and told at each change. */
import { failed, type LoadedPlugin, type RanPlugin } from '@flowops/sandbox/cli/run-plugin.ts';
import { type WatchedPlugin, watchPlugin } from '@flowops/sandbox/cli/watch-plugin.ts';
import { describe, expect, test } from 'vitest';
import { manifest } from './plugin-bundle.ts';

const COMPLETED: RanPlugin = {
  report: { status: 'COMPLETED', code: null, error: null, outputs: {}, logs: [], receipt: null },
  frames: '',
};

function plugin(digest: string): LoadedPlugin {
  const built = { ok: true as const, bundle: Buffer.from(''), digest, manifest: manifest(), sourceMap: '' };
  return { built: { ...built, warnings: [], sources: [] }, sourceFolder: undefined };
}

const good = (digest: string, inputs = {}): WatchedPlugin => ({ ok: true, plugin: plugin(digest), inputs });
const broken = (error: string): WatchedPlugin => ({ ok: false, ran: failed('PLUGIN_INVALID', error) });

/** A watch in the hands of a test. */
class HandWatch {
  /** What happened, in order. */
  readonly seen: string[] = [];
  readonly stop = new AbortController();
  readonly over: Promise<void>;
  #loads: WatchedPlugin[];
  #change = Promise.withResolvers<readonly string[]>();
  #quiet = Promise.withResolvers<void>();
  #ends = new Map<string, (ran: RanPlugin) => void>();
  /** Whether a run ends by itself at once. */
  readonly #runsLast: boolean;

  constructor(loads: readonly WatchedPlugin[], runsLast = false) {
    this.#loads = [...loads];
    this.#runsLast = runsLast;
    this.over = watchPlugin({
      changes: {
        follow: (files) => this.seen.push(`follow ${files.join(',')}`),
        next: async (signal) => {
          this.#quiet.resolve();
          signal.addEventListener('abort', () => this.#change.resolve([]), { once: true });
          return await this.#change.promise;
        },
      },
      stop: this.stop.signal,
      load: async () => {
        const loaded = this.#loads.shift() ?? broken('the test loads no more');
        return { loaded, files: ['plugin.ts'] };
      },
      run: (loaded, inputs, stop) => this.#run(loaded, Object.keys(inputs), stop),
      onChange: (names) => this.seen.push(`change ${names.join(',')}`),
      onNotBuilt: (ran, goesOn) => this.seen.push(`not built: ${ran.report.error}${goesOn ? ', a run goes on' : ''}`),
      onReplaced: () => this.seen.push('replaced'),
      onRan: (ran) => this.seen.push(`ran ${ran.report.status}`),
    });
  }

  /** Resolves when the watch waits for the next change. */
  quiet(): Promise<void> {
    return this.#quiet.promise;
  }

  async change(...names: string[]): Promise<void> {
    const { resolve } = this.#change;
    this.#change = Promise.withResolvers();
    this.#quiet = Promise.withResolvers();
    resolve(names);
    await this.quiet();
  }

  endRun(digest: string): void {
    this.#ends.get(digest)?.(COMPLETED);
  }

  async end(): Promise<void> {
    this.stop.abort();
    await this.over;
  }

  async #run({ built: { digest } }: LoadedPlugin, inputs: string[], stop: AbortSignal): Promise<RanPlugin> {
    this.seen.push(`run ${digest}${inputs.length > 0 ? ` with ${inputs.join()}` : ''}`);
    if (!this.#runsLast) return COMPLETED;
    return await new Promise((resolve) => {
      this.#ends.set(digest, resolve);
      stop.addEventListener('abort', () => {
        this.seen.push(`stopped ${digest}`);
        resolve(failed('CANCELLED', 'stopped'));
      });
    });
  }
}

describe('a watched plugin', () => {
  test('is run at once and again when it came out different, not when it came out the same', async () => {
    const watch = new HandWatch([good('one'), good('one'), good('two')]);
    await watch.quiet();
    await watch.change('note.ts');
    await watch.change('plugin.ts');
    await watch.end();
    expect(watch.seen.filter((line) => !line.startsWith('follow'))).toEqual([
      'change ',
      'run one',
      'ran COMPLETED',
      'change plugin.ts',
      'run two',
      'ran COMPLETED',
    ]);
  });

  test('is run again when its inputs changed', async () => {
    const watch = new HandWatch([good('one'), good('one', { name: 'Ada' })]);
    await watch.quiet();
    await watch.change('inputs.json');
    await watch.end();
    expect(watch.seen).toContain('run one with name');
  });

  test('that cannot be built is told, and the run of the last good build goes on', async () => {
    const watch = new HandWatch([good('one'), broken('a brace is missing'), good('two')], true);
    await watch.quiet();
    await watch.change('plugin.ts');
    expect(watch.seen.at(-1)).toBe('not built: a brace is missing, a run goes on');
    expect(watch.seen).not.toContain('stopped one');
    await watch.change('plugin.ts');
    expect(watch.seen.slice(-4)).toEqual(['change plugin.ts', 'replaced', 'stopped one', 'run two']);
    await watch.end();
  });

  test('that was mended to what it was before is run once more', async () => {
    const watch = new HandWatch([good('one'), broken('no'), good('one')]);
    await watch.quiet();
    await watch.change('plugin.ts');
    await watch.change('plugin.ts');
    await watch.end();
    expect(watch.seen.filter((line) => line === 'run one')).toHaveLength(2);
  });

  test('that is broken from the start is told once, and again when somebody saved it as broken as before', async () => {
    const watch = new HandWatch([broken('no'), broken('no'), broken('no')]);
    await watch.quiet();
    await watch.change(); // its folder is new to the watch
    expect(watch.seen.filter((line) => line === 'not built: no')).toHaveLength(1);
    await watch.change('plugin.ts');
    expect(watch.seen.filter((line) => line === 'not built: no')).toHaveLength(2);
    await watch.end();
  });

  test('has one run at a time, and how one ended that made room is no news', async () => {
    const watch = new HandWatch([good('one'), good('two')], true);
    await watch.quiet();
    await watch.change('plugin.ts');
    watch.endRun('two');
    await watch.end();
    expect(watch.seen.filter((line) => /^(run|ran|stopped)/.test(line))).toEqual([
      'run one',
      'stopped one',
      'run two',
      'ran COMPLETED',
      'stopped two',
    ]);
  });

  test('is stopped by Ctrl-C, waited for and told', async () => {
    const watch = new HandWatch([good('one')], true);
    await watch.quiet();
    await watch.end();
    expect(watch.seen.slice(-2)).toEqual(['stopped one', 'ran FAILED']);
  });
});
