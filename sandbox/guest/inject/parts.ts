/**
 * Code of the prelude that is too long to lie in every isolate, since the whole text is copied into each: the worker
 * keeps it and gives it at its first use. Only text of ours is evaluated here, by the function captured before any plugin.
 */
import { HOST_OP, type HostFunction, type PartName } from '../guest-protocol.ts';

const compile = Function;
let source: HostFunction | undefined;

export function takePartsFrom(host: HostFunction): void {
  source = host;
}

/** @returns what the module of that name exports. */
export function loadPart(name: PartName): unknown {
  const text = source?.(HOST_OP.part, name);
  // The attempt is ending; nothing of the plugin goes on after this.
  if (typeof text !== 'string' || text === '') throw new TypeError('the sandbox gives no more code');
  const evaluate: unknown = compile(text);
  return (evaluate as () => unknown)();
}
