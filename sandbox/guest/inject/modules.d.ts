/** Shapes of the polyfills that bring none, as far as they are used here. */
declare module 'event-target-shim' {
  export class Event<T extends string = string> {
    constructor(type: T);
    readonly type: T;
  }
  export class EventTarget<M extends Record<string, Event>> {
    addEventListener<K extends keyof M>(
      type: K,
      listener: (event: M[K]) => unknown,
      options?: { readonly once?: boolean },
    ): void;
    removeEventListener<K extends keyof M>(type: K, listener: (event: M[K]) => unknown): void;
    dispatchEvent(event: Event): boolean;
  }
}

declare module '@ungap/structured-clone' {
  export type Serialized = readonly (readonly [number, unknown])[];
  export function serialize(value: unknown): Serialized;
  export function deserialize(serialized: Serialized): unknown;
}

declare module 'whatwg-url' {
  export const URL: typeof globalThis.URL;
  export const URLSearchParams: typeof globalThis.URLSearchParams;
}
