/**
 * The language's own functions as they were before any plugin ran. The task runtime uses these, so that a plugin that
 * changes `Array.prototype` or `JSON` breaks itself and not the code that reports how it ended.
 *
 * Rules for the code that uses them: no method call, `for…of`, spread or destructuring of an array on a value that a
 * plugin could have changed the prototype of; plain index loops and these functions instead.
 */
const { apply, construct, ownKeys, get, getOwnPropertyDescriptor, getPrototypeOf, defineProperty } = Reflect;
const bind = Function.prototype.bind;
const call = Function.prototype.call;

/** `uncurryThis(String.prototype.slice)` is `(text, from, to) => text.slice(from, to)`, for good. */
function uncurryThis<This, Args extends unknown[], Result>(
  method: (this: This, ...args: Args) => Result,
): (self: This, ...args: Args) => Result {
  return apply(bind, call, [method]);
}

export const reflectApply = apply;
export const reflectConstruct = construct;
export const reflectGet = get;
export const reflectOwnKeys = ownKeys;
export const reflectGetOwnPropertyDescriptor = getOwnPropertyDescriptor;
export const reflectGetPrototypeOf = getPrototypeOf;
export const reflectDefineProperty = defineProperty;

export const isArray: (value: unknown) => value is unknown[] = Array.isArray;
export const isSafeInteger: (value: unknown) => boolean = Number.isSafeInteger;
export const isFiniteNumber: (value: unknown) => boolean = Number.isFinite;
export const objectIs = Object.is;
export const objectPrototype: object = Object.prototype;
export const toText = String;
export const jsonParse = JSON.parse;
export const jsonStringify = JSON.stringify;
export const mathMin = Math.min;
export const mathMax = Math.max;
export const mathFloor = Math.floor;
export const dateNow = Date.now;

export const hasOwn: (object: object, key: PropertyKey) => boolean = Object.hasOwn;
export const textSlice: (text: string, from: number, to?: number) => string = uncurryThis(String.prototype.slice);
export const textIndexOf: (text: string, search: string, from?: number) => number = uncurryThis(
  String.prototype.indexOf,
);
export const textCharCodeAt: (text: string, index: number) => number = uncurryThis(String.prototype.charCodeAt);
export const isWellFormed: (text: string) => boolean = uncurryThis(String.prototype.isWellFormed);
export const toWellFormed: (text: string) => string = uncurryThis(String.prototype.toWellFormed);

export const PromiseConstructor = Promise;
export const uncurriedThen: <T>(promise: Promise<T>, onValue: (value: T) => unknown) => Promise<unknown> = uncurryThis(
  Promise.prototype.then,
);
const resolvePromise = uncurryThis(Promise.resolve as (this: PromiseConstructorLike) => Promise<void>);
/** `Promise.resolve()`. */
export const resolved = (): Promise<void> => resolvePromise(PromiseConstructor);
export const ErrorConstructor = Error;

/** A map on which nothing inherited is ever found and no polluted setter is ever run. */
export class SafeMap<K, V> {
  readonly #map = new Map<K, V>();
  get size(): number {
    return mapSize(this.#map);
  }
  get(key: K): V | undefined {
    return mapGet(this.#map, key) as V | undefined;
  }
  has(key: K): boolean {
    return mapHas(this.#map, key);
  }
  set(key: K, value: V): void {
    mapSet(this.#map, key, value);
  }
  delete(key: K): boolean {
    return mapDelete(this.#map, key);
  }
}

const mapGet = uncurryThis(Map.prototype.get as (this: Map<unknown, unknown>, key: unknown) => unknown);
const mapHas = uncurryThis(Map.prototype.has as (this: Map<unknown, unknown>, key: unknown) => boolean);
const mapSet = uncurryThis(Map.prototype.set as (this: Map<unknown, unknown>, key: unknown, value: unknown) => unknown);
const mapDelete = uncurryThis(Map.prototype.delete as (this: Map<unknown, unknown>, key: unknown) => boolean);
const sizeGetter = getOwnPropertyDescriptor(Map.prototype, 'size')?.get;
const mapSize = (map: object): number => (sizeGetter === undefined ? 0 : (apply(sizeGetter, map, []) as number));

const weakMapGet = uncurryThis(WeakMap.prototype.get as (this: WeakMap<object, unknown>, key: object) => unknown);
const weakMapSet = uncurryThis(
  WeakMap.prototype.set as (this: WeakMap<object, unknown>, key: object, value: unknown) => unknown,
);

/** Remembers something about objects of ours; a plugin cannot make an object that it knows. */
export class SafeWeakMap<V> {
  readonly #map = new WeakMap<object, unknown>();
  get(key: unknown): V | undefined {
    return typeof key === 'object' && key !== null ? (weakMapGet(this.#map, key) as V | undefined) : undefined;
  }
  set(key: object, value: V): void {
    weakMapSet(this.#map, key, value);
  }
}
