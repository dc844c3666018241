/**
 * What really happened to each run, seen from outside of every engine: which code ran where, what the store took, what the
 * topics hold. The checks compare the one with the other.
 */
import type { StatusEvent } from '@flowops/proto/statuses.ts';
import type { CodeEnd, CodeIdentity } from '../hosts/plugin-code.ts';
import type { PlannedFlow } from '../plan/flows.ts';

export interface SeenCode {
  readonly code: CodeIdentity;
  readonly beganMs: number;
  end: CodeEnd | undefined;
}

/** A write of the store that it has lost, and that nobody has given it again. */
export interface LostWrite {
  /** The revision it follows; 0: it created the run. */
  readonly follows: number;
  readonly epoch: number;
  readonly text: string;
}

export interface RunTruth {
  readonly key: string;
  /** What a START of this run may have asked for. */
  readonly flows: PlannedFlow[];
  readonly codes: SeenCode[];
  /** stepId → attempts that a host ended by a fault of its own before any code ran. */
  readonly refusals: Map<string, number>;
  /** stepId → attempts of which an engine was told that their host's process has ended. */
  readonly hostLosses: Map<string, number>;
  /** Writes that the store took and still has. */
  writes: LostWrite[];
  lost: LostWrite[];
  /** Of whoever owns it now. */
  epoch: number;
  /** Status events committed, in order. */
  events: { readonly text: string; readonly event: StatusEvent }[];
  /** Step and flow statuses as a reader of the committed events has them. */
  readonly steps: Map<string, string>;
  flow: string;
  /** How many of the events were published, without a gap. */
  published: number;
  createdMs: number;
  /** The store forgot something of it: what was over may be in the index again, until its next owner looks. */
  cameBack: boolean;
  /**
   * The store lost writes, and their author was gone before it could repeat them: what was told of them cannot be taken
   * back, and nobody promises it (design 4.2).
   */
  isExcused: boolean;
}

export interface SeenCommand {
  readonly id: string;
  readonly kind: 'START' | 'STOP' | 'PAUSE' | 'RESUME' | 'garbage';
  readonly run: string;
}

export class Truth {
  readonly runs = new Map<string, RunTruth>();
  readonly commands = new Map<string, SeenCommand>();
  /** Outcomes by command: those in the topic, and when one was first committed with a run. */
  readonly outcomesTold = new Map<string, string[]>();
  readonly outcomesCommittedMs = new Map<string, number>();
  /** Every value that a topic of ours holds. */
  readonly published = new Set<string>();
  readonly deadLetters = new Set<string>();
  /** Commands that were sent on to another partition, and how often. */
  readonly hops = new Map<string, number>();

  run(key: string): RunTruth {
    const known = this.runs.get(key);
    if (known !== undefined) return known;
    const run: RunTruth = {
      key,
      flows: [],
      codes: [],
      refusals: new Map(),
      hostLosses: new Map(),
      writes: [],
      lost: [],
      events: [],
      steps: new Map(),
      flow: 'QUEUED',
      published: 0,
      createdMs: 0,
      epoch: 0,
      cameBack: false,
      isExcused: false,
    };
    this.runs.set(key, run);
    return run;
  }

  /** Attempts of a step that ended by no doing of its own. */
  faults(run: RunTruth, stepId: string): number {
    const ends = run.codes.filter(
      ({ code, end }) => code.stepId === stepId && (end === 'host-ended' || end === 'stopped'),
    );
    return ends.length + (run.refusals.get(stepId) ?? 0) + (run.hostLosses.get(stepId) ?? 0);
  }

  /** Code of the run that runs now. */
  running(run: RunTruth): readonly SeenCode[] {
    return run.codes.filter(({ end }) => end === undefined);
  }
}
