/**
 * An isolate that waits for its one attempt: context made, prelude evaluated, bundle compiled and linked, no line of
 * the plugin evaluated yet. Used once and disposed.
 *
 * Invariants:
 *   I1. Every isolate made here is disposed here or by its run: no path leaves one behind.
 *   I2. Code caches are made in this worker, from text whose digest was checked, and never leave it; V8 checks no
 *       more of them than the source's length.
 */

import type { ErrorCode } from '@flowops/proto/errors.ts';
import { messageOf } from '@flowops/proto/errors.ts';
import ivm from 'isolated-vm';
import { MAX_MESSAGE_LENGTH } from '../../guest/limits.ts';
import { ASYNC_COMPILE_LENGTH, MIN_MEMORY_MB } from './limits.ts';
import { warmPreludeCache } from './prelude-cache.ts';

/** Waits for all of the plugin's module, also for a top-level await, which isolated-vm's own promise does not. */
const LOADER = "import * as plugin from 'plugin';\nexport { plugin };\nexport const loaded = true;\n";
/** Shown in stacks of ours, which own-frames.ts cuts out. */
const PRELUDE_FILE = 'flowops:prelude';
const LOADER_FILE = 'flowops:loader';

export interface BundleCode {
  /** The name under which its frames are shown: "acme.hello.js". */
  readonly file: string;
  readonly source: string;
  /** Made at its first compile in this worker. */
  cache: ivm.ExternalCopy<ArrayBuffer> | undefined;
}

export interface IsolateShape {
  readonly memoryMb: number;
  readonly isWasmAllowed: boolean;
}

/** What an isolate tells while it runs. Set by the run that takes it. */
export interface IsolateOwner {
  onCall(op: number, a: unknown, b: unknown, c: unknown): number | string;
  onCatastrophe(): void;
}

export type Prepared =
  | { readonly ok: true; readonly isolate: PreparedIsolate }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

export class PreparedIsolate {
  readonly isolate: ivm.Isolate;
  /** Before it is taken, nothing can call: no code of the plugin has run. */
  owner: IsolateOwner | undefined;
  readonly enter: ivm.Reference;
  readonly loader: ivm.Module;

  constructor(parts: { isolate: ivm.Isolate; enter: ivm.Reference; loader: ivm.Module }) {
    this.isolate = parts.isolate;
    this.enter = parts.enter;
    this.loader = parts.loader;
  }

  dispose(): void {
    disposeIsolate(this.isolate);
  }
}

/** An isolate that ended by its memory limit is disposed already, and disposing it again throws. */
export function disposeIsolate(isolate: ivm.Isolate): void {
  if (!isolate.isDisposed) isolate.dispose();
}

export class IsolateFactory {
  readonly #prelude: string;
  readonly #preludeCache: ivm.ExternalCopy<ArrayBuffer> | undefined;
  readonly #loaderCache: ivm.ExternalCopy<ArrayBuffer> | undefined;

  /** Compiles the prelude once, before any guest code can run; also shows that isolates work on this machine. */
  static async create(prelude: string): Promise<IsolateFactory> {
    return new IsolateFactory(prelude, await warmPreludeCache(prelude, PRELUDE_FILE));
  }

  private constructor(prelude: string, warmCache: ivm.ExternalCopy<ArrayBuffer> | undefined) {
    this.#prelude = prelude;
    const isolate = new ivm.Isolate({ memoryLimit: MIN_MEMORY_MB * 4 });
    try {
      const script = isolate.compileScriptSync(prelude, { filename: PRELUDE_FILE, produceCachedData: true });
      this.#preludeCache = warmCache ?? cachedDataOf(script);
      const loader = isolate.compileModuleSync(LOADER, { filename: LOADER_FILE, produceCachedData: true });
      this.#loaderCache = cachedDataOf(loader);
      const answer: unknown = isolate.createContextSync().evalSync('1 + 1');
      if (answer !== 2) throw new Error(`an isolate answered ${String(answer)} to 1 + 1`);
    } finally {
      disposeIsolate(isolate);
    }
  }

  /** Never throws and never rejects. */
  async prepare(bundle: BundleCode, shape: IsolateShape): Promise<Prepared> {
    let isolate: ivm.Isolate | undefined;
    try {
      const holder: { prepared: PreparedIsolate | undefined } = { prepared: undefined };
      isolate = new ivm.Isolate({
        memoryLimit: Math.max(MIN_MEMORY_MB, shape.memoryMb),
        onCatastrophicError: () => holder.prepared?.owner?.onCatastrophe(),
      });
      const context = isolate.createContextSync();
      const script = isolate.compileScriptSync(this.#prelude, withCache(PRELUDE_FILE, this.#preludeCache));
      const boot = script.runSync(context, { reference: true });
      const host = new ivm.Callback((op: unknown, a: unknown, b: unknown, c: unknown) =>
        typeof op === 'number' ? (holder.prepared?.owner?.onCall(op, a, b, c) ?? 1) : 1,
      );
      const enter = boot.applySync(undefined, [host, shape.isWasmAllowed], { result: { reference: true } });
      boot.release();
      script.release();
      const module = await compileBundle(isolate, bundle);
      if (!module.ok) {
        disposeIsolate(isolate);
        return module;
      }
      const loader = isolate.compileModuleSync(LOADER, withCache(LOADER_FILE, this.#loaderCache));
      loader.instantiateSync(context, () => module.module);
      holder.prepared = new PreparedIsolate({ isolate, enter, loader });
      return { ok: true, isolate: holder.prepared };
    } catch (thrown) {
      const isOutOfMemory = isolate?.isDisposed === true;
      if (isolate !== undefined) disposeIsolate(isolate);
      return isOutOfMemory
        ? {
            ok: false,
            code: 'LIMIT_MEMORY',
            message: `the bundle alone needs more memory than its limit of ${shape.memoryMb} MB`,
          }
        : { ok: false, code: 'SANDBOX_UNAVAILABLE', message: `no isolate could be made: ${firstLine(thrown)}` };
    }
  }
}

type Compiled = { readonly ok: true; readonly module: ivm.Module } | Exclude<Prepared, { ok: true }>;

async function compileBundle(isolate: ivm.Isolate, bundle: BundleCode): Promise<Compiled> {
  const { source, file, cache } = bundle;
  const options = cache === undefined ? { filename: file, produceCachedData: true } : withCache(file, cache);
  let module: ivm.Module;
  try {
    module =
      source.length < ASYNC_COMPILE_LENGTH
        ? isolate.compileModuleSync(source, options)
        : await isolate.compileModule(source, options);
  } catch (thrown) {
    if (isolate.isDisposed) throw thrown;
    const message = `the bundle is not a JavaScript module: ${syntaxProblem(thrown, file)}`;
    return { ok: false, code: 'PLUGIN_INVALID', message };
  }
  bundle.cache ??= cachedDataOf(module);
  const imports = module.dependencySpecifiers;
  if (imports.length === 0) return { ok: true, module };
  const names = imports.slice(0, 5).map((name) => JSON.stringify(name.slice(0, 100)));
  return {
    ok: false,
    code: 'PLUGIN_INVALID',
    message: `the bundle imports ${names.join(', ')}; a bundle is one file without imports: build it with \`flowops plugin build\``,
  };
}

/** "Unexpected token (acme.hello.js:3:14)": V8's words and place. */
function syntaxProblem(thrown: unknown, file: string): string {
  const line = firstLine(thrown);
  const place = line.lastIndexOf(` [${file}:`);
  return place < 0 ? line : `${line.slice(0, place)} (${line.slice(place + 2).replace(/\]$/, '')})`;
}

function firstLine(thrown: unknown): string {
  return (messageOf(thrown).split('\n', 1)[0] ?? '').slice(0, MAX_MESSAGE_LENGTH);
}

function withCache(
  filename: string,
  cachedData: ivm.ExternalCopy<ArrayBuffer> | undefined,
): { filename: string; cachedData?: ivm.ExternalCopy<ArrayBuffer> } {
  return cachedData === undefined ? { filename } : { filename, cachedData };
}

/** isolated-vm puts the cache on what it compiled, beside the type that its declarations give. */
function cachedDataOf(compiled: object): ivm.ExternalCopy<ArrayBuffer> | undefined {
  const { cachedData } = compiled as { readonly cachedData?: ivm.ExternalCopy<ArrayBuffer> };
  return cachedData;
}
