/** Made by assets.ts when it bundles the worker: the guest's prelude as one expression that gives `boot`. */
declare module 'flowops:prelude' {
  export const PRELUDE: string;
}

/** The part of it that url-part.ts asks the worker for. */
declare module 'flowops:prelude-url' {
  export const PRELUDE_URL: string;
}
