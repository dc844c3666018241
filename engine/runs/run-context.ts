/** What every active run shares: the parts of the engine that a run talks to. */
import type { LogLine } from '@flowops/proto/attempt.ts';
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import type { ByteBudget } from '../base/byte-budget.ts';
import type { Clock } from '../base/clock.ts';
import type { Pause } from '../base/pause.ts';
import type { Standing } from '../base/standing.ts';
import type { TimerQueue } from '../base/timers.ts';
import type { Log } from '../log.ts';
import type { Publisher } from '../publishing/publisher.ts';
import type { Sandboxes } from '../sandbox-client/sandboxes.ts';
import type { PinnedPlugin } from '../scheduler/definition.ts';
import type { RunRef, RunStore } from '../store/run-store.ts';
import type { Admission } from './admission.ts';
import type { Quarantine } from './quarantine.ts';

export interface StepFailure {
  readonly plugin: Pick<PinnedPlugin, 'pluginId' | 'version' | 'digest'>;
  readonly code: ErrorCode;
  readonly message: string;
  readonly stack: string;
}

export interface RunContext {
  readonly store: RunStore;
  readonly publisher: Publisher;
  readonly plugins: PluginSource;
  readonly sandboxes: Sandboxes;
  readonly admission: Admission;
  readonly standing: Standing;
  readonly quarantine: Quarantine;
  /** Of results that came and are not committed, over all runs. */
  readonly resultBytes: ByteBudget;
  /** Of commits that are kept for a store that goes back in time, over all runs. */
  readonly keptBytes: ByteBudget;
  /** After this long without a word from its engine a sandbox host has ended an attempt, ms. */
  readonly leaseMs: number;
  readonly timers: TimerQueue;
  readonly clock: Clock;
  readonly pause: Pause;
  readonly log: Log;
  /** 128 random bits as 32 hex digits. */
  readonly newToken: () => string;
  /** How long after its last event was sent a finished run is kept, ms. */
  readonly retentionMs: number;
  /** Between the wish to stop and the kill, ms. */
  readonly stopGraceMs: number;
  /** A plugin's own words, as they come. They are not part of the run's state. */
  readonly onStepLog: (run: RunRef, stepId: string, line: LogLine) => void;
  readonly onStepProgress: (run: RunRef, stepId: string, progress: { fraction: number; message: string }) => void;
  /** An attempt failed with this, whether or not it is tried again. The stack is the plugin's own text. */
  readonly onStepFailed?: (run: RunRef, stepId: string, failure: StepFailure) => void;
  /** A run has ended, all of it was told, and it left memory. */
  readonly onRunEnded?: (run: RunRef) => void;
  /** Aborts when the engine closes: every wait ends. */
  readonly signal: AbortSignal;
}
