/**
 * Outputs of one run that steps still to come may need, so that a chain reads nothing back from the store. Bounded:
 * beyond it outputs are read from the store when a step needs them (design 4.2).
 */

/** Per run, bytes of JSON. */
const MAX_CACHED_BYTES = 256 * 1024;

export class OutputCache {
  readonly #texts = new Map<string, string>();
  #bytes = 0;

  /** @param name `stepId.outputKey` */
  get(name: string): string | undefined {
    return this.#texts.get(name);
  }

  set(name: string, json: string): void {
    if (json.length > MAX_CACHED_BYTES || this.#texts.has(name)) return;
    this.#texts.set(name, json);
    this.#bytes += json.length;
    for (const [oldest, text] of this.#texts) {
      if (this.#bytes <= MAX_CACHED_BYTES) return;
      this.#texts.delete(oldest);
      this.#bytes -= text.length;
    }
  }
}
