/**
 * Sandbox hosts that runs name and that are not connected: which of them are known to have ended. Who ran with this
 * FLOWOPS_HOME is looked up in its folder (proto/host-instances.ts); others are known only when somebody tells.
 */
import { instanceState } from '@flowops/proto/host-instances.ts';
import type { Whereabouts } from './sandboxes.ts';

/** A host whose engine was killed ends within milliseconds, and until then runs wait. */
const LOOK_MS = 200;
/** Nobody waits longer than a lease for a host; the longest that can be set is ten minutes. */
const WATCH_MS = 660_000;
/** Names of 40 bytes; the newest are the ones that runs name. */
const MAX_ENDED = 10_000;

export interface FormerHostsOptions {
  readonly home: string;
  /** One that was asked for has ended meanwhile. */
  readonly onEnded: (instance: string) => void;
}

export class FormerHosts {
  readonly #options: FormerHostsOptions;
  readonly #ended = new Set<string>();
  /** Asked for, and still holding their lock; until when they are looked at, as performance.now() counts. */
  readonly #watched = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: FormerHostsOptions) {
    this.#options = options;
  }

  locate(instance: string): Extract<Whereabouts, { state: 'ended' | 'unreachable' }> {
    if (this.#ended.has(instance)) return { state: 'ended' };
    if (this.#watched.has(instance)) return { state: 'unreachable' };
    switch (instanceState(this.#options.home, instance)) {
      case 'ended':
        this.noteEnded(instance);
        return { state: 'ended' };
      case 'running':
        this.#watch(instance);
        return { state: 'unreachable' };
      case 'unknown':
        return { state: 'unreachable' };
    }
  }

  /** It is proven by other means. */
  noteEnded(instance: string): void {
    this.#watched.delete(instance);
    this.#ended.delete(instance); // to be the newest
    this.#ended.add(instance);
    for (const oldest of this.#ended) {
      if (this.#ended.size <= MAX_ENDED) return;
      this.#ended.delete(oldest);
    }
  }

  /** Idempotent. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#watched.clear();
  }

  #watch(instance: string): void {
    this.#watched.set(instance, performance.now() + WATCH_MS);
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref();
  }

  #look(): void {
    for (const [instance, untilMs] of this.#watched) {
      if (instanceState(this.#options.home, instance) === 'ended') {
        this.noteEnded(instance);
        this.#options.onEnded(instance);
      } else if (performance.now() > untilMs) this.#watched.delete(instance);
    }
    if (this.#watched.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
