/**
 * While a task runs in a test, its code finds the globals of the sandbox and the test's own code those of Node, in one
 * process and at the same time: a global asks in whose asynchronous context it is read.
 *
 * Invariants:
 *   S1. Globals are changed only while a scope is open, and are what they were after the last one.
 *   S2. What the test hands to a task (its fetch) runs outside of the scope, and so does the test runner's own code.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

export interface GuestScope {
  /** By name, what the task finds in its place; undefined: nothing. What it puts there itself stays in here. */
  readonly globals: Map<string, unknown>;
  /** The task looked for one that is not there. */
  onMissing(name: string): void;
}

const scopes = new AsyncLocalStorage<GuestScope | undefined>();
const replaced = new Map<string, PropertyDescriptor>();
let openCount = 0;
/** They share the process with the task and need what it must not have, also when the task's code calls them. */
const RUNNER_FRAME =
  /\bnode:|[\\/]node_modules[\\/](?:\.pnpm[\\/][^\\/]+[\\/]node_modules[\\/])?(?:@?vitest|vite|tinyspy)[\\/]/;

export interface OpenGuestScope {
  /** For the task's code. What it leaves behind (timers, promises) is in the scope too. */
  run<T>(work: () => T): T;
  /** The globals are as they were, unless another scope is open. Idempotent. */
  close(): void;
}

/** Whoever opens it closes it. @param scope whose globals are looked at. */
export function openGuestScope(scope: GuestScope): OpenGuestScope {
  replaceGlobals([...scope.globals.keys()]);
  let isOpen = true;
  return {
    run: (work) => scopes.run(scope, work),
    close: () => {
      if (isOpen) restoreGlobals();
      isOpen = false;
    },
  };
}

/** For code of the test that a task calls. */
export function outsideOfScope<T>(work: () => T): T {
  return scopes.run(undefined, work);
}

function replaceGlobals(names: readonly string[]): void {
  openCount++;
  for (const name of names) {
    if (replaced.has(name)) continue;
    const real = Object.getOwnPropertyDescriptor(globalThis, name);
    if (real?.configurable !== true) continue;
    replaced.set(name, real);
    Object.defineProperty(globalThis, name, scoped(name, real));
  }
}

function restoreGlobals(): void {
  openCount--;
  if (openCount > 0) return;
  for (const [name, real] of replaced) {
    // A test may have put something else there in the meantime (vi.stubGlobal): that stays.
    const current = Object.getOwnPropertyDescriptor(globalThis, name);
    if (current?.get !== undefined && ours.has(current.get)) Object.defineProperty(globalThis, name, real);
  }
  replaced.clear();
}

const ours = new WeakSet<object>();

function scoped(name: string, real: PropertyDescriptor): PropertyDescriptor {
  const get = (): unknown => {
    const scope = scopes.getStore();
    if (scope === undefined || !scope.globals.has(name) || isReadByRunner(get)) return readReal();
    const value = scope.globals.get(name);
    if (value === undefined) scope.onMissing(name);
    return value;
  };
  const readReal = (): unknown => (real.get === undefined ? (real.value as unknown) : real.get.call(globalThis));
  const set = (value: unknown): void => {
    const scope = scopes.getStore();
    if (scope?.globals.has(name) === true) scope.globals.set(name, value);
    else if (real.set !== undefined) real.set.call(globalThis, value);
    else real.value = value;
  };
  ours.add(get);
  return { get, set, enumerable: real.enumerable === true, configurable: true };
}

/** Whose code reads it is told by the frame below ours; asked only where a task's context would hide something. */
function isReadByRunner(below: () => unknown): boolean {
  const holder: { stack?: string } = {};
  Error.captureStackTrace(holder, below);
  const [, frame = ''] = (holder.stack ?? '').split('\n', 2);
  return RUNNER_FRAME.test(frame);
}
