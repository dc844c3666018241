/** Made by assets.ts when it bundles the worker: the guest's prelude as one expression that gives `boot`. */
declare module 'flowops:prelude' {
  export const PRELUDE: string;
}

/** The parts of it that url-part.ts and hashes-part.ts ask the worker for. */
declare module 'flowops:prelude-url' {
  export const PRELUDE_URL: string;
}
declare module 'flowops:prelude-hashes' {
  export const PRELUDE_HASHES: string;
}
