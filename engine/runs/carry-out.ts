/** What the core asked for, once the commit that says so is durable (R1): each effect goes to the part of the run that does it. */
import { assertNever } from '@flowops/proto/errors.ts';
import type { Effect } from '../scheduler/events.ts';
import type { RunState } from '../scheduler/state.ts';
import type { Backoffs } from './backoffs.ts';
import type { FormerAttempts } from './former-attempts.ts';
import type { RunAttempts } from './run-attempts.ts';
import type { RunMessage } from './turn.ts';

export interface EffectTargets {
  readonly attempts: RunAttempts;
  readonly former: FormerAttempts;
  readonly backoffs: Backoffs;
  readonly post: (message: RunMessage) => void;
  readonly onFinished: () => void;
}

export function carryOut(effect: Effect, state: RunState, targets: EffectTargets): void {
  const { attempts, former, backoffs } = targets;
  switch (effect.type) {
    case 'start-attempt':
      attempts.start(state, effect);
      return;
    case 'seek-proof':
      former.seekProof(effect);
      return;
    case 'cancel-attempt':
      attempts.cancel(effect.step, effect.reason);
      return;
    case 'pause-attempts':
      attempts.pause();
      return;
    case 'resume-attempts':
      attempts.resume();
      return;
    case 'arm-backoff':
      backoffs.arm(effect.step, effect.dueMs);
      return;
    case 'disarm-backoffs':
      backoffs.disarm();
      return;
    case 'continue':
      targets.post({ kind: 'event', event: { type: 'continue' } });
      return;
    case 'finished':
      targets.onFinished();
      return;
    case 'quiescent':
      return; // told with the commit
    default:
      assertNever(effect);
  }
}
