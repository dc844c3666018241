/**
 * The first code in every guest, and the only code of ours in it. `boot` is called by what runs the guest with the one
 * function that leads out and gives back the one that leads in; neither is ever reachable from a global.
 *
 * Invariants:
 *   G1. All of it is evaluated before any code of the plugin is compiled, and keeps the language's own functions.
 *   G2. A plugin gets no object of isolated-vm and none from outside: only what this file and the SDK make here.
 *   G3. The end of the task is told once; after it nothing is told any more.
 */
import { hasOwn, jsonParse, jsonStringify, uncurriedThen } from '@flowops/sdk/primordials.ts';
import {
  describeTask,
  failed,
  type Hook,
  reportThrown,
  runTask,
  type TaskReport,
  type TaskRun,
} from '@flowops/sdk/task-runtime.ts';
import {
  ENTER_OP,
  ENTERED,
  type EnterFunction,
  type GuestSettings,
  HOST_OP,
  type HostFunction,
  LOADING,
} from '../guest-protocol.ts';
import { installAmongNatives, installGlobals, removeGlobals } from './globals.ts';
import { HostCalls } from './host-calls.ts';
import { LazyFetch } from './lazy-fetch.ts';
import { createLogger, GuestLog } from './logging.ts';
import { takePartsFrom } from './parts.ts';
import { GuestContext } from './task-context.ts';
import { GuestTimers } from './timers.ts';

interface LoaderNamespace {
  /** In its dead zone until the plugin's module, top-level await included, has been evaluated. */
  readonly loaded: true;
  readonly plugin: { readonly default?: unknown };
}

/**
 * @param isNode the plugin runs among Node's own globals (`runtime: "node"`), which stay.
 * @param isKept the isolate will hold further contexts for later steps of the same bundle.
 */
export function boot(host: HostFunction, isWasmAllowed: boolean, isNode = false, isKept = false): EnterFunction {
  const guest = new Guest(host, isNode);
  if (!isNode) removeGlobals(isWasmAllowed, isKept);
  return (op, a, b, c) => guest.enter(op, a, b, c);
}

class Guest {
  readonly #host: HostFunction;
  readonly #log: GuestLog;
  readonly #calls: HostCalls;
  readonly #fetch: LazyFetch;
  readonly #timers: GuestTimers;
  #start: (() => number) | undefined;
  #context: GuestContext | undefined;
  #run: TaskRun | undefined;
  #hasEnded = false;

  constructor(host: HostFunction, isNode: boolean) {
    this.#host = host;
    takePartsFrom(host);
    this.#log = new GuestLog(host);
    this.#calls = new HostCalls(host);
    this.#fetch = new LazyFetch(this.#calls);
    this.#timers = new GuestTimers(host, (thrown) => this.#end(reportThrown(thrown, this.#calls)));
    if (isNode) installAmongNatives({ log: this.#log, fetch: this.#fetch });
    else installGlobals({ host, log: this.#log, timers: this.#timers, fetch: this.#fetch });
  }

  enter(op: number, a: unknown, b: unknown, c: unknown): number {
    switch (op) {
      case ENTER_OP.run:
        this.#start = () => this.#begin(a as LoaderNamespace, jsonParse(b as string) as GuestSettings, c as string);
        return this.#start();
      case ENTER_OP.probe:
        return this.#start?.() ?? ENTERED;
      case ENTER_OP.timer:
        this.#timers.fire(a as number);
        return ENTERED;
      case ENTER_OP.reply:
        this.#calls.reply(a as number, b as string);
        return ENTERED;
      case ENTER_OP.replyError:
        this.#calls.replyError(a as number, b as string, c as string);
        return ENTERED;
      case ENTER_OP.stop:
        this.#context?.stop();
        return this.#hook('stop');
      case ENTER_OP.pause:
        return this.#hook('pause');
      case ENTER_OP.resume:
        return this.#hook('resume');
      default:
        return ENTERED;
    }
  }

  #begin(loader: LoaderNamespace, settings: GuestSettings, inputsJson: string): number {
    if (!isLoaded(loader)) return LOADING;
    this.#start = undefined;
    const exported = hasOwn(loader.plugin, 'default') ? loader.plugin.default : undefined;
    this.#context = new GuestContext({ host: this.#host, calls: this.#calls, fetch: this.#fetch, settings });
    const init = { logger: createLogger(this.#log), context: this.#context.context };
    try {
      const described = describeTask(exported, init);
      if (!described.ok) return this.#end(failed('PLUGIN_INVALID', described.problem));
      const { manifestJson } = described.declaration;
      // A plugin can put the name on Object.prototype.
      const isKnown = hasOwn(settings, 'knownManifestJson') && settings.knownManifestJson === manifestJson;
      const problem = isKnown ? '' : this.#host(HOST_OP.manifest, manifestJson);
      if (problem !== '') return this.#end(failed('PLUGIN_INVALID', `${problem}`));
      if (settings.purpose === 'inspect') return this.#end({ status: 'completed', outputsJson: '{}' });
      this.#run = runTask(described.declaration, inputsJson, {
        init,
        maxOutputLength: settings.outputBytes,
        codeOf: this.#calls.codeOf,
        onHookError: (hook, message) => this.#log.line('warn', () => `${hook}() of the task failed: ${message}`),
      });
    } catch (thrown) {
      return this.#end(reportThrown(thrown, this.#calls));
    }
    uncurriedThen(this.#run.report, (report) => this.#end(report));
    return ENTERED;
  }

  #hook(hook: Hook): number {
    this.#run?.call(hook);
    return ENTERED;
  }

  #end(report: TaskReport): number {
    if (this.#hasEnded) return ENTERED;
    this.#hasEnded = true;
    if (report.status === 'completed') this.#host(HOST_OP.completed, report.outputsJson, this.#log.droppedLines);
    else this.#host(HOST_OP.failed, jsonStringify(report), this.#log.droppedLines);
    return ENTERED;
  }
}

function isLoaded(loader: LoaderNamespace): boolean {
  try {
    return loader.loaded;
  } catch {
    return false;
  }
}
