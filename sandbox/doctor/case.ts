/**
 * What a hostile case is: a number of the catalogue, where it can happen, and what is tried. Data only, so that the
 * doctor and test/adversarial/ run the very same attempts. Judged by verdict.ts, run by run-case.ts.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { Json } from '@flowops/proto/json.ts';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import type { Bench } from './bench-contract.ts';

export type Runtime = 'isolated-vm' | 'runc' | 'runsc';
/** Where a case is tried: in a tier, or at the sandbox host itself. */
export type Place =
  | { readonly tier: 'isolate'; readonly runtime: 'isolated-vm' }
  | { readonly tier: 'container'; readonly runtime: 'runc' | 'runsc' }
  | { readonly tier: 'host'; readonly runtime: 'node' };

export type Ending = 'COMPLETED' | ErrorCode;

export interface Expectation {
  /** Any of these. */
  readonly endings: readonly Ending[];
  /** Of a step that completed; undefined = whatever they are. */
  readonly outputs?: Json;
  /** Every line that may come out, in order; undefined = whatever they are. */
  readonly lines?: readonly string[];
  /** Of a step that failed. */
  readonly stack?: string;
  /** In its message. */
  readonly says?: string;
  /** Text that must not come out anywhere. */
  readonly keepsBack?: string;
}

/** One plugin, run once or several times. */
export interface PluginAttempt {
  /** A clause, for a person: "a promise that never settles". */
  readonly what: string;
  /** Body of the run function: `inputs`, `logger` and `context` are in its scope. */
  readonly body: string;
  /** Module text before it. */
  readonly prologue?: string;
  /** Module text instead of a task made of `body`. */
  readonly module?: string;
  readonly outputs?: Readonly<Record<string, 'json' | 'string'>>;
  readonly inputs?: Readonly<Record<string, Json>>;
  readonly limits?: Partial<EffectiveLimits>;
  readonly grants?: { readonly net?: readonly string[]; readonly secrets?: readonly string[]; readonly wasm?: true };
  /** `runtime: "node"`: Node's own modules, in a container. */
  readonly isNode?: true;
  /** Signed by a publisher of the doctor, whose rule says so: its steps share an isolate. */
  readonly freshness?: 'context';
  /** In the command line of processes that it starts: none on this machine may have it afterwards. */
  readonly marker?: string;
  /** A worker whose host does not help may end with it: only the end of the process ends such code. */
  readonly mayEndWorker?: true;
  /** Only a host that watches from outside ends it. */
  readonly needsHost?: true;
  readonly purpose?: 'inspect';
  /** Cancelled so long after its first instruction. */
  readonly stopAfterMs?: number;
  /** Runs one after the other, each judged alike. */
  readonly times?: number;
  /** So many at once, as different plugins. */
  readonly copies?: number;
  readonly pids?: number;
  readonly expect: Expectation;
}

/** What is there for a case to try itself on. */
export interface Surroundings {
  readonly runtime: Runtime;
  /** `127.0.0.1:PORT` of a server of the doctor (origin-server.ts). */
  readonly origin: string;
  /** Of another one, which nobody may reach; counts who comes. */
  readonly forbidden: string;
}

export interface PluginCase {
  readonly kind: 'plugin';
  /** As in the catalogue. */
  readonly id: string;
  readonly title: string;
  readonly runtimes: readonly Runtime[];
  /** What differs by runtime, or needs somebody to talk to, is told by its own attempts. */
  readonly attempts: readonly PluginAttempt[] | ((around: Surroundings) => readonly PluginAttempt[]);
}

/** What no plugin can do: a peer on the wire, a bundle, a policy file, a worker whose isolate was left. */
export interface HostCase {
  readonly kind: 'host';
  readonly id: string;
  readonly title: string;
  /** Absent: at the host itself, once. */
  readonly runtimes?: readonly Runtime[];
  /** @returns what went wrong; empty when all is well. */
  readonly run: (bench: Bench, place: Place) => Promise<readonly string[]>;
}

export type HostileCase = PluginCase | HostCase;

/** Reports what it found as its output, and must have found nothing. `body` pushes to `found`. */
export function hunt(
  what: string,
  body: string,
  more: Partial<Omit<PluginAttempt, 'what' | 'body'>> = {},
): PluginAttempt {
  return {
    what,
    body: `const found = [];\n${body}\nreturn { found };`,
    outputs: { found: 'json' },
    expect: { endings: ['COMPLETED'], outputs: { found: [] } },
    ...more,
  };
}

/** Ends with one of the codes. */
export function ends(
  what: string,
  endings: Ending | readonly Ending[],
  body: string,
  more: Partial<Omit<PluginAttempt, 'what' | 'body' | 'expect'>> = {},
): PluginAttempt {
  return { what, body, expect: { endings: typeof endings === 'string' ? [endings] : endings }, ...more };
}

/** Short, so that a doctor takes minutes; a step that does not end at all takes far longer than any of these. */
export const SHORT_WALL: Partial<EffectiveLimits> = { wallMs: 700 };
