/** A signal that aborts with its parent or after a time, whichever is first; its timer goes when it is released. */

export interface Deadline {
  readonly signal: AbortSignal;
  /** The time was first. */
  readonly hasPassed: boolean;
  /** Idempotent. The signal does not abort any more. */
  release(): void;
}

export function startDeadline(parent: AbortSignal, ms: number): Deadline {
  const controller = new AbortController();
  let hasPassed = false;
  const follow = (): void => {
    clearTimeout(timer);
    controller.abort(parent.reason);
  };
  const timer = setTimeout(() => {
    hasPassed = true;
    parent.removeEventListener('abort', follow);
    controller.abort(new Error(`not done within ${ms} ms`));
  }, ms);
  parent.addEventListener('abort', follow, { once: true });
  if (parent.aborted) follow();
  return {
    signal: controller.signal,
    get hasPassed() {
      return hasPassed;
    },
    release: () => {
      clearTimeout(timer);
      parent.removeEventListener('abort', follow);
    },
  };
}
