/** What the tables of settings are made of. */
import type { z } from 'zod';

export type Part = 'engine' | 'sandbox' | 'sdk';

/** A reader of text: what settings-parsers.ts makes. */
export type SettingParser<Value = unknown> = z.ZodType<Value, string>;

export interface Setting {
  readonly parse: SettingParser;
  /** What a value looks like, for the docs: a noun phrase. */
  readonly kind: string;
  /** As a person would type it. Absent: not set by default. */
  readonly default?: string;
  /** What an absent default means, when that is not "off". */
  readonly whenUnset?: string;
  /** `value`: never shown. `password`: only the password inside the URL is hidden. */
  readonly secret?: 'value' | 'password';
  readonly usedBy: readonly Part[];
  readonly about: string;
  readonly unavailable?: Unavailable;
}

/** A value that this release would not act on. */
export interface Unavailable {
  /** What is missing, a noun phrase: "TLS to Kafka". */
  readonly feature: string;
  /** The values that this release does act on; none: every value is refused. */
  readonly except?: readonly string[];
}
