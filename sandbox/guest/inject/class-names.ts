/**
 * Gives the classes of a polyfill the names that their standards give them, which the bundler made short: packages look
 * at `constructor.name` and at `Object.prototype.toString`, and people read them in their logs.
 */
export function withClassNames<Made extends object>(made: Made, names: readonly string[]): Made {
  for (const name of names) {
    const value: unknown = Reflect.get(made, name);
    if (typeof value !== 'function') continue;
    Object.defineProperty(value, 'name', { value: name, configurable: true });
    const prototype: unknown = value.prototype;
    if (typeof prototype !== 'object' || prototype === null || Object.hasOwn(prototype, Symbol.toStringTag)) continue;
    Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
  }
  return made;
}
