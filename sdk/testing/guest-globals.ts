/** The globals that a task finds in a test where they differ from Node's own (proto/guest-globals.ts is the list). */
import { GUEST_MEMBERS } from '@flowops/proto/guest-globals.ts';
import { MISSING_GLOBALS } from './node-globals.ts';

interface Given {
  readonly console: object;
  readonly fetch: typeof globalThis.fetch;
  /** `runtime: "node"`: all of Node is there. */
  readonly isNode: boolean;
}

/** By name; undefined where there is nothing. */
export function guestGlobals({ console, fetch, isNode }: Given): Map<string, unknown> {
  const globals = new Map<string, unknown>([
    ['console', console],
    ['fetch', fetch],
  ]);
  if (isNode) return globals;
  const { crypto, performance } = globalThis;
  const subtle = onlyMembers(crypto.subtle, GUEST_MEMBERS['crypto.subtle']);
  globals.set('crypto', { ...onlyMembers(crypto, ['getRandomValues', 'randomUUID']), subtle });
  globals.set('performance', onlyMembers(performance, GUEST_MEMBERS.performance));
  for (const name of MISSING_GLOBALS) globals.set(name, undefined);
  return globals;
}

/** Functions are asked for at each call, since a test may have put others there (fake timers). */
function onlyMembers(real: object, names: readonly string[]): Record<string, unknown> {
  const members: Record<string, unknown> = {};
  for (const name of names) {
    const value: unknown = Reflect.get(real, name);
    members[name] =
      typeof value === 'function'
        ? (...values: unknown[]): unknown => Reflect.apply(Reflect.get(real, name), real, values)
        : value;
  }
  return members;
}
