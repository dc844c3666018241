/**
 * The host's own cap on what a plugin tells as progress, whatever its sandbox let through: each goes on to engine and
 * topic. What comes too soon is dropped, because a fraction is not worth a queue; that it is done is told, once. Who
 * goes on and on is to be ended: to read what is dropped costs the host too.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { Progress } from '@flowops/proto/sandbox_pb.js';

/** A person sees no more. */
const INTERVAL_MS = 50;
/** A sandbox of ours sends twenty a second at most, so this many are of one that is ours no more. */
const MAX_DROPPED = 10_000;
/** A line of text on somebody's screen. */
const MAX_MESSAGE_LENGTH = 1024;

export interface AdmittedProgress {
  /** 0 to 1. */
  readonly fraction: number;
  readonly message: string;
}

export function endlessProgress(stepId: string): { code: ErrorCode; message: string } {
  return { code: 'LIMIT_LOG', message: `step ${stepId} was ended: it tells its progress without end` };
}

export class ProgressCap {
  #lastAt = Number.NEGATIVE_INFINITY;
  #hasToldDone = false;
  #dropped = 0;

  get isBeyondAll(): boolean {
    return this.#dropped > MAX_DROPPED;
  }

  /** Undefined when it is dropped. */
  admit({ fraction, message }: Pick<Progress, 'fraction' | 'message'>, nowMs: number): AdmittedProgress | undefined {
    const known = fraction > 0 ? Math.min(1, fraction) : 0; // NaN is 0 too
    const isNews = known === 1 && !this.#hasToldDone;
    if (nowMs - this.#lastAt < INTERVAL_MS && !isNews) {
      this.#dropped++;
      return undefined;
    }
    this.#lastAt = nowMs;
    this.#hasToldDone ||= known === 1;
    return { fraction: known, message: message.slice(0, MAX_MESSAGE_LENGTH) };
  }
}
