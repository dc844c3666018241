/**
 * Bounds what hosts leave in the private folder: roots, filters and bundles of workers that no host has used for some
 * days are removed. Whoever uses one says so by its time, at its start and again while it runs.
 */
import { readdirSync, readlinkSync, rmSync, statSync, utimesSync } from 'node:fs';
import path from 'node:path';

/** A laptop that slept over a long weekend finds its worker again. */
const UNUSED_MS = 7 * 24 * 3600 * 1000;
/** Often enough that one missed time does no harm. */
const TOUCH_EVERY_MS = 12 * 3600 * 1000;
const OURS = /^(?:root|filter|worker)-/;

/** Keeps `used` (entries of `folder`) from being removed while this process lives; returns what ends that. */
export function keepUsed(folder: string, used: readonly string[]): () => void {
  const touch = (): void => {
    const now = new Date();
    for (const entry of used) {
      try {
        utimesSync(path.join(folder, entry), now, now);
      } catch {
        // not there (any more): it is built again when it is needed
      }
    }
  };
  touch();
  const timer = setInterval(touch, TOUCH_EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** Removes what nobody has used for long; gives the names. Never throws. */
export function pruneUnused(folder: string, nowMs: number): string[] {
  const removed: string[] = [];
  const roots = rootsInUse();
  for (const entry of list(folder)) {
    const place = path.join(folder, entry);
    if (!OURS.test(entry) || roots.has(place.replace(/\.json$/, ''))) continue;
    try {
      if (nowMs - statSync(place).mtimeMs < UNUSED_MS) continue;
      rmSync(place, { recursive: true, force: true });
      removed.push(entry);
    } catch {
      // another host was quicker
    }
  }
  return removed;
}

/** Of every process that we may look at. */
function rootsInUse(): Set<string> {
  const roots = new Set<string>();
  for (const pid of list('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      roots.add(readlinkSync(`/proc/${pid}/root`));
    } catch {
      // gone, or another user's, who has another folder
    }
  }
  return roots;
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
