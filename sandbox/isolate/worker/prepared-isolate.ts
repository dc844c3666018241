/**
 * An isolate that waits for its one attempt: context made, prelude evaluated, bundle compiled and linked, no line of
 * the plugin evaluated yet. Used once and disposed; with `freshness: context` the isolate may get a further context.
 *
 * Invariants:
 *   I1. Every isolate made here is disposed here or by its run: no path leaves one behind.
 *   I2. A code cache was made here, from text whose digest was checked, or came from the host with that text; V8 checks
 *       no more of it than the source's length. It leaves this worker only by makeCodeCache, before any guest ran.
 */

import type { ErrorCode } from '@flowops/proto/errors.ts';
import { messageOf } from '@flowops/proto/errors.ts';
import ivm from 'isolated-vm';
import { HOST_OP, type PreludeParts } from '../../guest/guest-protocol.ts';
import { MAX_MESSAGE_LENGTH } from '../../guest/limits.ts';
import { ASYNC_COMPILE_LENGTH, CACHE_MEMORY_MB, MAX_CONTEXTS, MIN_MEMORY_MB } from './limits.ts';
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
  /** The same as a script; undefined where only the module will do. */
  script: string | undefined;
  /** Of the script. Given by the host, or made at its first compile in this worker. */
  cache: ivm.ExternalCopy<ArrayBuffer> | undefined;
}

export interface IsolateShape {
  readonly memoryMb: number;
  readonly isWasmAllowed: boolean;
  readonly isDebugged: boolean;
  /** Later steps of the same bundle get a fresh context in it (`freshness: context`). */
  readonly isKept: boolean;
}

/** What an isolate tells while it runs. Set by the run that takes it. */
export interface IsolateOwner {
  onCall(op: number, a: unknown, b: unknown, c: unknown): number | string;
  onCatastrophe(): void;
  /** Code of an earlier step in the same isolate has called: it went on after its end. */
  onIntruder(): void;
}

export type Prepared =
  | { readonly ok: true; readonly isolate: PreparedIsolate }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

/** Evaluates a bundle's code in its one context. */
interface Loading {
  load(timeoutMs: () => number): Promise<ivm.Reference>;
  /** Lets go of what it holds of that context, which could not be collected before our own garbage is. */
  release(): void;
}

export class PreparedIsolate {
  readonly isolate: ivm.Isolate;
  /** Before it is taken, nothing can call: no code of the plugin has run. */
  owner: IsolateOwner | undefined;
  /** Lets go of it first: disposing an isolate with a debugger in it never ends. */
  onDispose: (() => void) | undefined;
  readonly enter: ivm.Reference;
  readonly #home: IsolateHome;
  readonly #context: ivm.Context;
  readonly #loading: Loading;
  readonly #parts: PreludeParts;
  #isRetired = false;

  constructor(made: {
    home: IsolateHome;
    context: ivm.Context;
    enter: ivm.Reference;
    loading: Loading;
    parts: PreludeParts;
  }) {
    this.isolate = made.home.isolate;
    this.enter = made.enter;
    this.#home = made.home;
    this.#context = made.context;
    this.#loading = made.loading;
    this.#parts = made.parts;
  }

  get isKept(): boolean {
    return this.#home.isKept;
  }

  /** From the guest of this context. After it was retired, nothing of it may run any more. */
  takeCall(op: number, a: unknown, b: unknown, c: unknown): number | string {
    if (this.#isRetired) {
      this.#home.takeIntruder();
      return 1;
    }
    if (op === HOST_OP.part) return a === 'url' || a === 'hashes' ? this.#parts[a] : 1;
    return this.owner?.onCall(op, a, b, c) ?? 1;
  }

  /** The context is given up; the isolate may have another one. Nothing of it may be running. */
  retire(): IsolateHome {
    this.#isRetired = true;
    this.owner = undefined;
    this.enter.release();
    this.#loading.release();
    this.#context.release();
    return this.#home;
  }

  /** Evaluates the plugin's top level; gives what the prelude takes as LoaderNamespace. Called once, by its run. */
  load(timeoutMs: () => number): Promise<ivm.Reference> {
    return this.#loading.load(timeoutMs);
  }

  dispose(): void {
    this.onDispose?.();
    disposeIsolate(this.isolate);
  }
}

/** An isolate that ended by its memory limit is disposed already, and disposing it again throws. */
export function disposeIsolate(isolate: ivm.Isolate): void {
  if (!isolate.isDisposed) isolate.dispose();
}

export class IsolateFactory {
  readonly #prelude: string;
  readonly #parts: PreludeParts;
  readonly #preludeCache: ivm.ExternalCopy<ArrayBuffer> | undefined;

  /** Compiles the prelude once, before any guest code can run; also shows that isolates work on this machine. */
  static async create(prelude: string, parts: PreludeParts): Promise<IsolateFactory> {
    return new IsolateFactory(prelude, parts, await warmPreludeCache(prelude, PRELUDE_FILE));
  }

  private constructor(prelude: string, parts: PreludeParts, warmCache: ivm.ExternalCopy<ArrayBuffer> | undefined) {
    this.#prelude = prelude;
    this.#parts = parts;
    const isolate = new ivm.Isolate({ memoryLimit: MIN_MEMORY_MB * 4 });
    try {
      const script = isolate.compileScriptSync(prelude, { filename: PRELUDE_FILE, produceCachedData: true });
      this.#preludeCache = warmCache ?? cachedDataOf(script);
      const answer: unknown = isolate.createContextSync().evalSync('1 + 1');
      if (answer !== 2) throw new Error(`an isolate answered ${String(answer)} to 1 + 1`);
    } finally {
      disposeIsolate(isolate);
    }
  }

  /** Compiles a bundle for its code cache alone; nothing of it runs. Undefined when it cannot be compiled. */
  async makeCodeCache(bundle: BundleCode): Promise<Uint8Array | undefined> {
    let isolate: ivm.Isolate | undefined;
    try {
      isolate = new ivm.Isolate({ memoryLimit: CACHE_MEMORY_MB });
      if (bundle.script === undefined) return undefined;
      const options = { filename: bundle.file, produceCachedData: true };
      bundle.cache = cachedDataOf(await isolate.compileScript(bundle.script, options));
      return bundle.cache === undefined ? undefined : new Uint8Array(bundle.cache.copy());
    } catch {
      // What is wrong with it is told to the step that needs it.
      return undefined;
    } finally {
      if (isolate !== undefined) disposeIsolate(isolate);
    }
  }

  /**
   * Never throws and never rejects.
   * @param kept an isolate of the same bundle and shape in which nothing runs; it is taken, whatever comes of it.
   */
  async prepare(bundle: BundleCode, shape: IsolateShape, kept?: IsolateHome): Promise<Prepared> {
    let isolate = kept?.isolate;
    try {
      const home = kept ?? new IsolateHome(shape);
      isolate = home.isolate;
      home.contexts++;
      const holder: { prepared: PreparedIsolate | undefined } = { prepared: undefined };
      const context = isolate.createContextSync({ inspector: shape.isDebugged });
      home.prelude ??= isolate.compileScriptSync(this.#prelude, withCache(PRELUDE_FILE, this.#preludeCache));
      const boot = home.prelude.runSync(context, { reference: true });
      const host = new ivm.Callback((op: unknown, a: unknown, b: unknown, c: unknown) =>
        typeof op === 'number' ? (holder.prepared?.takeCall(op, a, b, c) ?? 1) : 1,
      );
      const given = [host, shape.isWasmAllowed, false, shape.isKept];
      const enter = boot.applySync(undefined, given, { result: { reference: true } });
      boot.release();
      const compiled = home.code ?? (await compileBundle(isolate, bundle));
      if (!compiled.ok) {
        disposeIsolate(isolate);
        return compiled;
      }
      const loading =
        compiled.kind === 'script'
          ? scriptLoad(compiled.script, context)
          : moduleLoad(isolate.compileModuleSync(LOADER, { filename: LOADER_FILE }), compiled.module, context);
      if (compiled.kind === 'script') home.code = compiled;
      holder.prepared = new PreparedIsolate({ home, context, enter, loading, parts: this.#parts });
      home.current = holder.prepared;
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

/** An isolate and what is compiled in it once; with `freshness: context` it outlives a step. */
export class IsolateHome {
  readonly isolate: ivm.Isolate;
  readonly isKept: boolean;
  prelude: ivm.Script | undefined;
  code: CompiledScript | undefined;
  /** Contexts made in it so far. */
  contexts = 0;
  current: PreparedIsolate | undefined;

  constructor({ memoryMb, isDebugged, isKept }: IsolateShape) {
    this.isKept = isKept;
    this.isolate = new ivm.Isolate({
      memoryLimit: Math.max(MIN_MEMORY_MB, memoryMb),
      inspector: isDebugged,
      onCatastrophicError: () => this.current?.owner?.onCatastrophe(),
    });
  }

  /** Half-full, or used often enough: a new isolate is better than a long collection of garbage. */
  isWorn(memoryMb: number): boolean {
    if (this.isolate.isDisposed || this.contexts >= MAX_CONTEXTS) return true;
    const { used_heap_size: used, externally_allocated_size: outside } = this.isolate.getHeapStatisticsSync();
    return used + outside > (memoryMb * 1024 * 1024) / 2;
  }

  takeIntruder(): void {
    this.current?.owner?.onIntruder();
    this.dispose();
  }

  dispose(): void {
    disposeIsolate(this.isolate);
  }
}

type CompiledModule = { readonly ok: true; readonly kind: 'module'; readonly module: ivm.Module };
type CompiledScript = { readonly ok: true; readonly kind: 'script'; readonly script: ivm.Script };
type Uncompiled = Exclude<Prepared, { ok: true }>;

function moduleLoad(loader: ivm.Module, module: ivm.Module, context: ivm.Context): Loading {
  loader.instantiateSync(context, () => module);
  return {
    load: async (timeoutMs) => {
      await loader.evaluate({ timeout: timeoutMs() });
      return loader.namespace;
    },
    release: () => {
      loader.release();
      module.release();
    },
  };
}

function scriptLoad(script: ivm.Script, context: ivm.Context): Loading {
  return {
    load: async (timeoutMs) => {
      const main = await script.run(context, { reference: true, timeout: timeoutMs() });
      try {
        return await main.apply(undefined, [], { result: { reference: true }, timeout: timeoutMs() });
      } finally {
        main.release();
      }
    },
    release: () => {},
  };
}

async function compileBundle(
  isolate: ivm.Isolate,
  bundle: BundleCode,
): Promise<CompiledModule | CompiledScript | Uncompiled> {
  const script = await compileScript(isolate, bundle);
  return script === undefined ? await compileModule(isolate, bundle) : { ok: true, kind: 'script', script };
}

/** Undefined: the bundle is no script, or not one that V8 takes. */
async function compileScript(isolate: ivm.Isolate, bundle: BundleCode): Promise<ivm.Script | undefined> {
  const { file, cache } = bundle;
  if (bundle.script === undefined) return undefined;
  const options = cache === undefined ? { filename: file, produceCachedData: true } : withCache(file, cache);
  try {
    const script = await isolate.compileScript(bundle.script, options);
    // Another build of V8 made it: the next isolate here makes its own.
    if (isCacheRejected(script)) bundle.cache = undefined;
    else bundle.cache ??= cachedDataOf(script);
    return script;
  } catch (thrown) {
    if (isolate.isDisposed) throw thrown;
    // Syntax that only a module has, or a mistake: that is told of the module.
    bundle.script = undefined;
    bundle.cache = undefined;
    return undefined;
  }
}

async function compileModule(isolate: ivm.Isolate, bundle: BundleCode): Promise<CompiledModule | Uncompiled> {
  const { source, file } = bundle;
  const options = { filename: file };
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
  const imports = module.dependencySpecifiers;
  if (imports.length === 0) return { ok: true, kind: 'module', module };
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

function isCacheRejected(compiled: object): boolean {
  const { cachedDataRejected } = compiled as { readonly cachedDataRejected?: boolean };
  return cachedDataRejected === true;
}
