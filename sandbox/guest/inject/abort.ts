/**
 * AbortController and AbortSignal on the EventTarget of event-target-shim (the polyfills that exist know no `reason`,
 * no `any` and no `timeout`). https://dom.spec.whatwg.org/#aborting-ongoing-activities
 */
import { Event, EventTarget } from 'event-target-shim';
import { namedError } from './named-error.ts';

export { Event, EventTarget };

type Listener = ((event: Event<'abort'>) => unknown) | null;
let isMaking = false;
/** Set once by the class below, which alone sees the reason; not reachable for a plugin. */
let abortSignal: (signal: AbortSignal, reason: unknown) => void;

export class AbortSignal extends EventTarget<{ abort: Event<'abort'> }> {
  #reason: unknown;
  #onabort: Listener = null;

  constructor() {
    if (!isMaking) throw new TypeError('Illegal constructor: use new AbortController().signal');
    super();
  }

  get aborted(): boolean {
    return this.#reason !== undefined;
  }

  get reason(): unknown {
    return this.#reason;
  }

  get onabort(): Listener {
    return this.#onabort;
  }

  set onabort(listener: Listener) {
    if (this.#onabort !== null) this.removeEventListener('abort', this.#onabort);
    this.#onabort = typeof listener === 'function' ? listener : null;
    if (this.#onabort !== null) this.addEventListener('abort', this.#onabort);
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.#reason;
  }

  static abort(reason?: unknown): AbortSignal {
    const signal = makeSignal();
    abortSignal(signal, reason);
    return signal;
  }

  static timeout(milliseconds: number): AbortSignal {
    const signal = makeSignal();
    const reason = namedError('TimeoutError', 'The operation was aborted due to timeout');
    setTimeout(() => abortSignal(signal, reason), milliseconds);
    return signal;
  }

  static any(signals: Iterable<AbortSignal>): AbortSignal {
    const result = makeSignal();
    const sources = [...signals];
    const aborted = sources.find((source) => source.aborted);
    if (aborted !== undefined) {
      abortSignal(result, aborted.reason);
      return result;
    }
    for (const source of sources) {
      source.addEventListener('abort', () => abortSignal(result, source.reason), { once: true });
    }
    return result;
  }

  static {
    abortSignal = (signal, reason) => {
      if (signal.aborted) return;
      signal.#reason = reason === undefined ? namedError('AbortError', 'This operation was aborted') : reason;
      signal.dispatchEvent(new Event('abort'));
    };
  }
}

export class AbortController {
  readonly #signal = makeSignal();

  get signal(): AbortSignal {
    return this.#signal;
  }

  abort(reason?: unknown): void {
    abortSignal(this.#signal, reason);
  }
}

function makeSignal(): AbortSignal {
  isMaking = true;
  try {
    return new AbortSignal();
  } finally {
    isMaking = false;
  }
}
