/** Made by runner-assets.ts when it bundles the runner: the program of the guest thread, a script. */
declare module 'flowops:guest-thread' {
  export const GUEST_THREAD: string;
}
