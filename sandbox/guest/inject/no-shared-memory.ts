/**
 * Stands in for SharedArrayBuffer in the polyfills' own code, which looks at its prototype when it loads; a guest has
 * no shared memory. Put in by the bundler (assets.ts).
 */
export class NoSharedArrayBuffer {
  get growable(): boolean {
    throw new TypeError('there is no shared memory here');
  }
  get byteLength(): number {
    throw new TypeError('there is no shared memory here');
  }
}
