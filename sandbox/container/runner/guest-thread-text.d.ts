/** Made by runner-bundle.ts when it bundles the runner: the program of the guest thread, CommonJS. */
declare module 'flowops:guest-thread' {
  export const GUEST_THREAD: string;
}
