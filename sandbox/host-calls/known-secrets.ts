/**
 * The secrets that one attempt was given: looks for them in what leaves, and takes them out of what people will read.
 * The values are in memory as long as the attempt is.
 */
import { type Json, parseJson } from '@flowops/proto/json.ts';
import { formsOf } from './secret-forms.ts';

const MASK = '***';
/** Distinct values: a secret that changes while the attempt reads it counts each time. */
const MAX_VALUES = 64;

interface Known {
  readonly name: string;
  readonly value: string;
  readonly forms: readonly string[];
}

export interface RedactedJson {
  /** Strings and keys that held a secret; with 0 the text is the one that was given. */
  readonly found: number;
  readonly json: string;
}

export class KnownSecrets {
  #known: readonly Known[] = [];
  /** Of all of them, longest first, so that no form is cut up by a shorter one. */
  #forms: readonly string[] = [];

  /** False when there is no room for one more. */
  add(name: string, value: string): boolean {
    if (this.#known.some((known) => known.name === name && known.value === value)) return true;
    if (this.#known.length >= MAX_VALUES) return false;
    this.#known = [...this.#known, { name, value, forms: formsOf(value) }];
    const all = this.#known.flatMap(({ forms }) => forms);
    this.#forms = [...new Set(all)].sort((left, right) => right.length - left.length);
    return true;
  }

  get names(): string[] {
    return [...new Set(this.#known.map(({ name }) => name))].sort();
  }

  /** Names of the secrets that one of the texts holds. */
  findIn(texts: readonly string[]): string[] {
    const held = this.#known.filter(({ forms }) => forms.some((form) => texts.some((text) => text.includes(form))));
    return [...new Set(held.map(({ name }) => name))];
  }

  holds(text: string): boolean {
    return this.#forms.some((form) => text.includes(form));
  }

  redact(text: string): string {
    let redacted = text;
    for (const form of this.#forms) {
      if (redacted.includes(form)) redacted = redacted.replaceAll(form, MASK);
    }
    return redacted;
  }

  /** Strings and keys of a JSON text, however they are escaped. Text that is no JSON gives `{}`: nobody can say what it holds. */
  redactJson(text: string): RedactedJson {
    if (this.#forms.length === 0) return { found: 0, json: text };
    const parsed = parseJson(text);
    if (!parsed.ok) return { found: 1, json: '{}' };
    const counter = { found: 0 };
    const value = this.#redactValue(parsed.value, counter);
    return { found: counter.found, json: counter.found === 0 ? text : JSON.stringify(value) };
  }

  /** Recursion is safe: parseJson bounds the depth. */
  #redactValue(value: Json, counter: { found: number }): Json {
    if (typeof value === 'string') return this.#redactCounted(value, counter);
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map((item) => this.#redactValue(item, counter));
    const entries = Object.entries(value);
    return Object.fromEntries(
      entries.map(([key, item]) => [this.#redactCounted(key, counter), this.#redactValue(item, counter)]),
    );
  }

  #redactCounted(text: string, counter: { found: number }): string {
    const redacted = this.redact(text);
    if (redacted !== text) counter.found++;
    return redacted;
  }
}
