/**
 * Where a plugin's module is evaluated: in a fresh context that has the guest's API and nothing of Node, or, for a
 * manifest with `runtime: "node"`, among Node's own modules. A context is no boundary; the container is.
 */
import { isBuiltin } from 'node:module';
import vm from 'node:vm';
import type { EnterFunction, HostFunction } from '../../../guest/guest-protocol.ts';
import { PRELUDE_NAME } from '../files.ts';
import type { GuestMode } from '../thread-protocol.ts';
import { syntaxPlace } from './syntax-place.ts';

/** Names in a message about imports. */
const MAX_SHOWN_IMPORTS = 5;
const MAX_SHOWN_LENGTH = 100;

/** The bundle is not one that can be run; the message is for its author. */
export class CompileProblem extends Error {}

export interface LoadedPlugin {
  readonly namespace: object;
  /** Resolves when the module, top-level await included, has been evaluated. */
  evaluate(): Promise<void>;
}

export interface LoadRequest {
  readonly source: string;
  readonly file: string;
  readonly mode: GuestMode;
  readonly isWasmAllowed: boolean;
}

type Boot = (host: HostFunction, isWasmAllowed: boolean, isNode: boolean) => EnterFunction;

export interface Realm {
  load(request: LoadRequest, host: HostFunction): Promise<{ plugin: LoadedPlugin; enter: EnterFunction }>;
}

/** Does ahead what needs no plugin: the context, and the prelude in it. */
export function prepareRealm(prelude: string, cachedData: Uint8Array | undefined): Realm {
  const context = vm.createContext(vm.constants.DONT_CONTEXTIFY);
  const names = new Set<PropertyKey>(vm.runInContext('Reflect.ownKeys(globalThis)', context) as PropertyKey[]);
  const cache = cachedData === undefined ? {} : { cachedData };
  const script = new vm.Script(prelude, { filename: PRELUDE_NAME, ...cache });
  const boot = script.runInContext(context) as Boot;
  const refuse = vm.runInContext('(message) => { throw new TypeError(message); }', context) as (text: string) => never;
  return {
    load: async ({ source, file, mode, isWasmAllowed }, host) => {
      const isNode = mode === 'node';
      const module = compile(source, {
        identifier: file,
        ...(isNode ? { initializeImportMeta: fillMeta(file) } : { context }),
        importModuleDynamically: (specifier: string) =>
          isNode ? importBuiltin(specifier) : refuse(`import() is not available here: ${JSON.stringify(specifier)}`),
      });
      await module.link((specifier) => (isNode ? importBuiltin(specifier) : refuse('')));
      if (!isNode) emptyOuterRealm(names);
      const enter = isNode ? (script.runInThisContext() as Boot)(host, true, true) : boot(host, isWasmAllowed, false);
      return { plugin: { namespace: module.namespace, evaluate: () => module.evaluate() as Promise<void> }, enter };
    },
  };
}

/**
 * A context gives out objects of the realm around it here and there (the promise of an import(), for one). So that they
 * lead to no more than the language, that realm loses everything else. Node's own code holds what it needs.
 */
function emptyOuterRealm(kept: ReadonlySet<PropertyKey>): void {
  for (const name of Reflect.ownKeys(globalThis)) {
    if (!kept.has(name)) Reflect.deleteProperty(globalThis, name);
  }
}

function compile(source: string, options: vm.SourceTextModuleOptions & { identifier: string }): vm.SourceTextModule {
  const make = (): vm.SourceTextModule => new vm.SourceTextModule(source, options);
  let module: vm.SourceTextModule;
  try {
    module = make();
  } catch (thrown) {
    const place = syntaxPlace(make);
    const where = place === undefined ? '' : ` (${options.identifier}:${place})`;
    throw new CompileProblem(`the bundle is not a JavaScript module: ${wordsOf(thrown)}${where}`);
  }
  const specifiers = module.dependencySpecifiers;
  const foreign = options.context === undefined ? specifiers.filter((name) => !isBuiltin(name)) : specifiers;
  if (foreign.length === 0) return module;
  const names = foreign.slice(0, MAX_SHOWN_IMPORTS).map((name) => JSON.stringify(name.slice(0, MAX_SHOWN_LENGTH)));
  throw new CompileProblem(
    `the bundle imports ${names.join(', ')}; a bundle is one file without imports: build it with \`flowops plugin build\``,
  );
}

/** V8's own error, of the context's realm: no instance of an Error of ours. */
function wordsOf(thrown: unknown): string {
  return String(Reflect.get(Object(thrown), 'message'));
}

/** One of Node's own modules, as `import` gives it. */
async function importBuiltin(specifier: string): Promise<vm.Module> {
  if (!isBuiltin(specifier)) throw new TypeError(`a plugin can import Node's own modules only, not ${specifier}`);
  const exports = process.getBuiltinModule(specifier) as Record<string, unknown> | undefined;
  if (exports === undefined) throw new TypeError(`there is no module ${specifier} here`);
  const names = new Set([...Object.keys(exports), 'default']);
  const module = new vm.SyntheticModule([...names], function (this: vm.SyntheticModule) {
    for (const name of names) this.setExport(name, name === 'default' ? exports : exports[name]);
  });
  await module.link(() => module);
  await module.evaluate();
  return module;
}

function fillMeta(file: string): (meta: ImportMeta) => void {
  return (meta) => {
    meta.url = `file:///plugin/${file}`;
    meta.filename = `/plugin/${file}`;
    meta.dirname = '/plugin';
  };
}
