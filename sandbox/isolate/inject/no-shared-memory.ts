/**
 * Stands in for SharedArrayBuffer in the polyfills' own code, which looks at its prototype when it loads; a guest has
 * no shared memory. Put in by the bundler (assets.ts).
 */
export class NoSharedArrayBuffer {
  get byteLength(): number {
    throw new TypeError('there is no shared memory here');
  }
}
