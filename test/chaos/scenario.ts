/** What a scenario is, what its faults can act on, and what is told of it at the end. */

import type { Chance } from './chance.ts';
import type { Verdict } from './checker.ts';
import type { Pace } from './flows.ts';
import type { Ground } from './ground.ts';
import type { Nodes } from './nodes.ts';
import type { Allowance } from './observation.ts';
import type { Wire } from './wire.ts';

export interface Scenario {
  readonly name: string;
  readonly about: string;
  /** Default 3. */
  readonly engines?: number;
  /** Fewer runs than asked for, where each takes long. */
  readonly maxRuns?: number;
  /** Sandbox hosts that all engines share. Default: each engine has one of its own. */
  readonly hosts?: number;
  /** Engines reach Kafka, Redis and shared hosts through relays that `faults` may hold or cut. */
  readonly isRelayed?: boolean;
  /** How long steps work. */
  readonly pace?: Pace;
  /** Default: reruns. */
  readonly allowance?: Partial<Allowance>;
  readonly env?: Readonly<Record<string, string>>;
  /** What happens while the load goes on. */
  faults(arena: Arena): Promise<void>;
}

export interface Arena {
  readonly ground: Ground;
  readonly nodes: Nodes;
  readonly wire: Wire;
  readonly chance: Chance;
  /** Does it, counts it and notes it with its time. */
  fault(what: string, act: () => Promise<unknown> | unknown): Promise<void>;
  /** What went otherwise than asked for, and breaks no promise. */
  note(text: string): void;
  /** Resolves when this share of all runs has ended. */
  reached(share: number): Promise<void>;
  wait(ms: number): Promise<void>;
  /** Starts so many of the runs now, however many are in flight. */
  burst(count: number): Promise<void>;
}

export interface ScenarioCall {
  readonly ground: Ground;
  readonly seed: number;
  readonly runs: number;
  readonly inFlight: number;
  readonly say: (line: string) => void;
}

export interface ScenarioReport extends Verdict {
  readonly name: string;
  readonly seed: number;
  readonly faults: readonly string[];
  /** What went otherwise than asked for, and breaks no promise. */
  readonly notes: readonly string[];
  /** The most runs that were in flight at one moment. */
  readonly inFlight: number;
  readonly seconds: number;
  /** Where everything seen is kept, when something was violated. */
  readonly evidence: string | undefined;
}
