/** Made by assets.ts when it bundles the worker: the guest's prelude as one expression that gives `boot`. */
declare module 'flowops:prelude' {
  export const PRELUDE: string;
}
