/**
 * What a sandbox host remembers of plugins in FLOWOPS_HOME/sandbox: the name each pluginId was first used under (pins),
 * and how often a plugin broke its limits (violations; after enough of them it is demoted, until an operator lifts
 * that). What this means for an attempt is the policy's to decide.
 *
 * Whose violations are counted together: a signed plugin is its publisher and name, whatever id it comes under; an
 * unsigned one is its pluginId and name, since anybody can claim a name. So nobody can have another's plugin demoted.
 */
import { join } from 'node:path';
import { ERROR_CODES, type ErrorCode } from '@flowops/proto/errors.ts';
import { z } from 'zod';
import type { PluginHistory } from '../policy/decision.ts';
import { LEDGER_POLL_MS, LedgerFolder, type LedgerLog } from './ledger-folder.ts';

/** Plugins of a large deployment many times over; all of it is held in memory. */
const MAX_PINS = 10_000;
const MAX_COUNTED = 10_000;

export interface PluginSubject {
  readonly pluginId: string;
  /** The manifest's name. */
  readonly name: string;
  /** Whose key verified it; undefined = unsigned. */
  readonly publisher: string | undefined;
}

export interface Violation {
  readonly code: ErrorCode;
  /** onViolation.demote of the rule. */
  readonly demoteAfter: number;
  /** For the operator: by which rule it ran. */
  readonly rule: string;
}

/** What the attempts of a host need of this. */
export interface PluginMemory {
  recall(subject: PluginSubject): PluginHistory;
  /** It runs for the first time under this pluginId, as far as is known: its name is agreed to from now on. */
  pin(subject: PluginSubject): void;
  violated(subject: PluginSubject, violation: Violation): void;
}

/** For a policy under which nothing is remembered (the developer policy). */
export const NO_MEMORY: PluginMemory = { recall: () => ({}), pin: () => {}, violated: () => {} };

export const pinSchema = z.strictObject({
  pluginId: z.string(),
  name: z.string(),
  since: z.iso.datetime(),
  by: z.enum(['first use', 'operator']),
});
export type Pin = z.output<typeof pinSchema>;

export const countSchema = z.strictObject({
  name: z.string(),
  publisher: z.string().nullable(),
  /** null where the publisher says who it is. */
  pluginId: z.string().nullable(),
  violations: z.int().positive(),
  demoteAfter: z.int().positive(),
  // The table's own keys, which Object.keys only knows as strings.
  code: z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]),
  rule: z.string(),
  firstAt: z.iso.datetime(),
  lastAt: z.iso.datetime(),
  demotedAt: z.iso.datetime().nullable(),
});
export type ViolationCount = z.output<typeof countSchema>;

export interface PluginLedgerOptions {
  /** FLOWOPS_HOME. */
  readonly home: string;
  readonly log: LedgerLog;
  readonly now?: () => number;
  /** Follow what commands and other hosts change; absent: look once. */
  readonly pollMs?: number;
  readonly maxPins?: number;
  readonly maxCounted?: number;
}

export { LEDGER_POLL_MS };

export async function openPluginLedger(options: PluginLedgerOptions): Promise<PluginLedger> {
  const { home, log } = options;
  const poll = options.pollMs === undefined ? {} : { pollMs: options.pollMs };
  const [pins, counts] = await Promise.all([
    LedgerFolder.open<Pin>({
      dir: join(home, 'sandbox', 'pins'),
      what: 'agreed names of plugins',
      schema: pinSchema,
      keyOf: ({ pluginId }) => pluginId,
      log,
      ...poll,
    }),
    LedgerFolder.open<ViolationCount>({
      dir: join(home, 'sandbox', 'violations'),
      what: 'violations of plugins',
      schema: countSchema,
      keyOf: countKey,
      log,
      ...poll,
    }),
  ]);
  return new PluginLedger(pins, counts, options);
}

export class PluginLedger implements PluginMemory {
  readonly #pins: LedgerFolder<Pin>;
  readonly #counts: LedgerFolder<ViolationCount>;
  readonly #log: LedgerLog;
  readonly #now: () => number;
  readonly #maxPins: number;
  readonly #maxCounted: number;
  #toldFull = false;

  constructor(pins: LedgerFolder<Pin>, counts: LedgerFolder<ViolationCount>, options: PluginLedgerOptions) {
    this.#pins = pins;
    this.#counts = counts;
    this.#log = options.log;
    this.#now = options.now ?? Date.now;
    this.#maxPins = options.maxPins ?? MAX_PINS;
    this.#maxCounted = options.maxCounted ?? MAX_COUNTED;
  }

  recall(subject: PluginSubject): PluginHistory {
    const pin = this.#pins.get(pinKey(subject.pluginId));
    const count = this.#counts.get(keyOf(subject));
    const since = count?.demotedAt;
    return {
      ...(pin === undefined ? { isFull: this.#pins.size >= this.#maxPins } : { agreedName: pin.name }),
      ...(count === undefined || since === null || since === undefined
        ? {}
        : { demotion: { violations: count.violations, code: count.code, since } }),
    };
  }

  pin({ pluginId, name }: PluginSubject): void {
    const key = pinKey(pluginId);
    if (this.#pins.get(key) !== undefined || this.#pins.size >= this.#maxPins) return;
    this.#pins.put({ pluginId: key, name, since: this.#time(), by: 'first use' });
  }

  violated(subject: PluginSubject, { code, demoteAfter, rule }: Violation): void {
    const key = keyOf(subject);
    const former = this.#counts.get(key);
    if (former === undefined && !this.#makeRoom()) return;
    const violations = (former?.violations ?? 0) + 1;
    const at = this.#time();
    const demotedAt = former?.demotedAt ?? (violations >= demoteAfter ? at : null);
    this.#counts.put({
      ...identityOf(subject),
      violations,
      demoteAfter,
      code,
      rule,
      firstAt: former?.firstAt ?? at,
      lastAt: at,
      demotedAt,
    });
    if (demotedAt === null || former?.demotedAt === demotedAt) return;
    this.#log.warn(
      `${describe(subject)} is demoted to the container tier after ${violations} violations (the last: ${code}; ${rule}), ` +
        `until an operator lifts it: flowops policy demotions --lift ${subject.name}`,
    );
  }

  /** What is counted of this plugin; undefined = nothing. */
  countOf(subject: PluginSubject): ViolationCount | undefined {
    return this.#counts.get(keyOf(subject));
  }

  pins(): Pin[] {
    return this.#pins.values().sort((a, b) => (a.pluginId < b.pluginId ? -1 : 1));
  }

  counts(): ViolationCount[] {
    return this.#counts.values().sort((a, b) => (countKey(a) < countKey(b) ? -1 : 1));
  }

  /** An operator says which name a pluginId has. */
  agree(pluginId: string, name: string): void {
    this.#pins.put({ pluginId: pinKey(pluginId), name, since: this.#time(), by: 'operator' });
  }

  /** An operator forgives: the plugin's violations are forgotten, it runs where its rule says. */
  lift(count: ViolationCount): void {
    this.#counts.remove(countKey(count));
  }

  /** Takes in what others changed. */
  async refresh(): Promise<void> {
    await Promise.all([this.#pins.refresh(), this.#counts.refresh()]);
  }

  async settled(): Promise<void> {
    await Promise.all([this.#pins.settled(), this.#counts.settled()]);
  }

  /** Idempotent; what was put is on the disk afterwards. */
  async close(): Promise<void> {
    await Promise.all([this.#pins.close(), this.#counts.close()]);
  }

  /** The count that is longest without a violation goes; a demotion never does. */
  #makeRoom(): boolean {
    if (this.#counts.size < this.#maxCounted) return true;
    const oldest = this.#counts
      .values()
      .filter(({ demotedAt }) => demotedAt === null)
      .reduce<ViolationCount | undefined>((a, b) => (a === undefined || b.lastAt < a.lastAt ? b : a), undefined);
    if (oldest !== undefined) {
      this.#counts.remove(countKey(oldest));
      return true;
    }
    if (!this.#toldFull)
      this.#log.error(`${this.#maxCounted} plugins are demoted; violations of further ones are not counted`);
    this.#toldFull = true;
    return false;
  }

  #time(): string {
    return new Date(this.#now()).toISOString();
  }
}

/** UUIDs are written in any letter case. */
function pinKey(pluginId: string): string {
  return pluginId.toLowerCase();
}

function identityOf({ pluginId, name, publisher }: PluginSubject) {
  return publisher === undefined
    ? { name, publisher: null, pluginId: pinKey(pluginId) }
    : { name, publisher, pluginId: null };
}

function keyOf(subject: PluginSubject): string {
  return countKey(identityOf(subject));
}

/** Names, ids and publishers hold no line feed. */
function countKey({ name, publisher, pluginId }: Pick<ViolationCount, 'name' | 'publisher' | 'pluginId'>): string {
  return publisher === null ? `id\n${pluginId}\n${name}` : `publisher\n${publisher}\n${name}`;
}

function describe({ pluginId, name, publisher }: PluginSubject): string {
  return publisher === undefined ? `${name} (unsigned, published as ${pluginId})` : `${name} of ${publisher}`;
}
