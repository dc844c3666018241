/**
 * What holds for patches, notes and owners in every store: names the store keeps for itself, numbers that are numbers, the
 * least time a finished run's `:meta` stays. A call that breaks a rule is a bug of the caller and throws.
 */
import { NOTE_MAX_BYTES, type RunPatch } from './run-store.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
/** `:meta` outlives the run's data, so that a START repeated within a week is known as a repeat (design 4.3). */
export const META_RETENTION_MIN_MS = 7 * DAY_MS;

export function checkPatch(patch: RunPatch): void {
  for (const name in patch.meta) {
    if (name.startsWith('_')) throw new RangeError(`meta field ${name}: names beginning with _ are the store's own`);
  }
  if (patch.acknowledged !== undefined) checkCount('acknowledged', patch.acknowledged);
  if (patch.outboxFrom !== undefined) checkCount('outboxFrom', patch.outboxFrom);
}

/** Epochs, revisions, sequences: whole numbers from 0 that every store holds exactly. */
export function checkCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${name} is not a whole number from 0: ${value}`);
}

export function checkNote(text: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > NOTE_MAX_BYTES) throw new RangeError(`a note of ${bytes} bytes: at most ${NOTE_MAX_BYTES}`);
}

export function metaRetentionMs(retentionMs: number): number {
  return Math.max(retentionMs, META_RETENTION_MIN_MS);
}
