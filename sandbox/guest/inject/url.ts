/** URL and URLSearchParams. https://url.spec.whatwg.org/ */

export interface Url {
  readonly URL: typeof globalThis.URL;
  readonly URLSearchParams: typeof globalThis.URLSearchParams;
}

/** CommonJS form, because only that is evaluated at its first call when esbuild bundles it. */
export const requireUrl = (): Url => require('whatwg-url') as Url;
