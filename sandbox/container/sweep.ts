/**
 * Removes containers that nobody looks after: what hosts left behind that are known to be dead, what outlived its
 * deadline, and what this host lost track of (a making whose answer never came) or
 * could not remove. Never a container of a live host: whose
 * one is, labels.ts tells. Runs once Docker is there, then from time to time.
 */
import type { Logger } from 'pino';
import type { DockerEngine, ListedContainer } from './docker-engine.ts';
import { APP_FILTER, belongingOf, type Owner } from './labels.ts';

/** Longer than any making takes until its answer is here: it may be one of ours that we do not know yet. */
const UNKNOWN_GRACE_MS = 180_000;

export interface SweepOptions {
  readonly engine: Pick<DockerEngine, 'list' | 'unpause' | 'remove'>;
  readonly self: Owner;
  /** Ids that this host looks after. */
  readonly tracked: ReadonlySet<string>;
  /** Ids of ended ones that it could not remove, names of some that may have been made. */
  readonly left: Set<string>;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  readonly nowMs?: () => number;
  readonly isAlive?: (pid: number, ticks: string) => boolean;
}

/** How many were removed. Never rejects. */
export async function sweep(options: SweepOptions): Promise<number> {
  const { engine, log } = options;
  const listed = await engine.list(APP_FILTER);
  if (!listed.ok) return 0;
  let removed = 0;
  for (const container of listed.value) {
    if (!isAbandoned(container, options)) continue;
    // A paused one cannot be killed on every version of Docker.
    if (container.state === 'paused') await engine.unpause(container.id);
    const answer = await engine.remove(container.id);
    if (answer.ok) removed++;
    if (answer.ok || answer.failure.kind === 'not-found') forget(container, options.left);
    else if (answer.failure.kind === 'unreachable') break;
  }
  if (removed > 0) log.info({ removed }, 'removed containers that a former sandbox host left behind');
  return removed;
}

function isAbandoned(container: ListedContainer, options: SweepOptions): boolean {
  const nowMs = (options.nowMs ?? Date.now)();
  switch (belongingOf(container.labels, options.self, nowMs, options.isAlive)) {
    case 'orphan':
      return !options.tracked.has(container.id);
    case 'own':
      if (isLeft(container, options.left)) return true;
      return !options.tracked.has(container.id) && nowMs - container.createdMs > UNKNOWN_GRACE_MS;
    case 'foreign':
      return false;
  }
}

function isLeft({ id, names }: ListedContainer, left: ReadonlySet<string>): boolean {
  return left.has(id) || names.some((name) => left.has(name));
}

function forget({ id, names }: ListedContainer, left: Set<string>): void {
  for (const known of [id, ...names]) left.delete(known);
}
