/** What a run is handed, and what one turn makes of it. */
import type { Attempt, SandboxHost } from '@flowops/proto/attempt.ts';
import { type Draft, newDraft } from '../scheduler/decide.ts';
import type { FlowDefinition } from '../scheduler/definition.ts';
import type { RunEvent } from '../scheduler/events.ts';
import type { RunCommand } from './command-desk.ts';
import type { HeldAttempt } from './run-attempts.ts';

export type RunMessage =
  | { readonly kind: 'event'; readonly event: RunEvent }
  /** A place in flight that this run waited for. */
  | { readonly kind: 'place' }
  /** An attempt that a former owner started is there: it goes on. */
  | {
      readonly kind: 'found';
      readonly step: number;
      readonly token: string;
      readonly host: SandboxHost;
      readonly attempt: Attempt;
    }
  /** A sandbox host has seen a newer owner of the run. */
  | { readonly kind: 'displaced' }
  /** The store may have gone back in time: commit, to see. */
  | { readonly kind: 'verify'; readonly onVerified?: () => void }
  /** Something outside changed (recovery, a host): see again what can start. */
  | { readonly kind: 'look' }
  /** The flow of the queued run was checked. */
  | { readonly kind: 'planned'; readonly definition: FlowDefinition }
  | { readonly kind: 'command'; readonly command: RunCommand }
  /** Tell the store what was sent, if no commit did. */
  | { readonly kind: 'acknowledge' };

/** What one turn has gathered for its commit. */
export interface Turn {
  readonly draft: Draft;
  readonly nowMs: number;
  definition: FlowDefinition | undefined;
  /** Attempts whose end this commit makes durable. */
  readonly ended: HeldAttempt[];
  mustCommit: boolean;
  /** To be called when the commit is made, or never will be. */
  readonly onVerified: (() => void)[];
  /** Another owner has the run: nothing is committed any more. */
  isDisplaced: boolean;
}

export function newTurn(nowMs: number): Turn {
  return {
    draft: newDraft(),
    nowMs,
    definition: undefined,
    ended: [],
    onVerified: [],
    mustCommit: false,
    isDisplaced: false,
  };
}
