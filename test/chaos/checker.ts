/**
 * Decides from outside whether anything was lost, told wrongly or run twice: a pure function of what was sent, the
 * status topic and the plugins' own log. It knows nothing of engines, and the same checks hold for every scenario but
 * for what its faults excuse.
 */
import { runKey, type StatusEvent, statusEventSchema } from '@flowops/proto/statuses.ts';
import { checkEffects } from './check-effects.ts';
import { readStory, type ToldEvent } from './check-events.ts';
import type { Effect, Observation, SentRun, StatusRecord, Violation } from './observation.ts';

export interface Figures {
  readonly runs: number;
  /** How many ended how. */
  readonly ends: Readonly<Record<string, number>>;
  /** First copies. */
  readonly events: number;
  readonly repeats: number;
  readonly effects: number;
  readonly reruns: number;
}

export interface Verdict {
  readonly violations: readonly Violation[];
  readonly figures: Figures;
}

export function check({ runs, records, effects, allowance }: Observation): Verdict {
  const sent = new Map(runs.map((run) => [runKey(run), run]));
  const { told, violations } = readRecords(records, sent);
  const ran = effectsByRun(effects, sent, violations);
  const ends: Record<string, number> = {};
  const sums = { events: 0, repeats: 0, reruns: 0 };
  for (const [key, run] of sent) {
    const story = readStory(run, told.get(key) ?? [], allowance);
    const { reruns, findings } = checkEffects(run, story, ran.get(key) ?? new Map(), allowance);
    for (const finding of [...story.findings, ...findings]) violations.push({ run: key, ...finding });
    const end = story.end?.status ?? 'none';
    ends[end] = (ends[end] ?? 0) + 1;
    sums.events += story.firstCopies;
    sums.repeats += story.repeats;
    sums.reruns += reruns;
  }
  return { violations, figures: { runs: runs.length, ends, effects: effects.length, ...sums } };
}

/** The events of each run in the order in which a reader of its partition gets them. */
function readRecords(records: readonly StatusRecord[], sent: ReadonlyMap<string, SentRun>) {
  const told = new Map<string, ToldEvent[]>();
  const partitions = new Map<string, number>();
  const violations: Violation[] = [];
  for (const record of [...records].sort((a, b) => a.partition - b.partition || a.offset - b.offset)) {
    const place = `partition ${record.partition}, offset ${record.offset}`;
    const event = readEvent(record.value);
    if (event?.sequence === undefined || event.eventId === undefined) {
      violations.push({ kind: 'unreadable', run: record.key ?? '', detail: `${place}: ${record.value}` });
      continue;
    }
    const key = runKey(event);
    const partition = partitions.get(key) ?? record.partition;
    partitions.set(key, partition);
    if (!sent.has(key) || record.key !== key || record.partition !== partition) {
      const detail = `${place}, key ${record.key}, the run's partition is ${partition}: ${record.value}`;
      violations.push({ kind: 'foreign', run: key, detail });
      continue;
    }
    const ofRun = told.get(key) ?? [];
    told.set(key, ofRun);
    ofRun.push({ event, sequence: event.sequence, value: record.value ?? '' });
  }
  return { told, violations };
}

function readEvent(value: string | null): StatusEvent | undefined {
  try {
    const read = statusEventSchema.safeParse(JSON.parse(value ?? ''));
    return read.success ? read.data : undefined;
  } catch {
    return undefined;
  }
}

/** By run, then by step. */
function effectsByRun(
  effects: readonly Effect[],
  sent: ReadonlyMap<string, SentRun>,
  violations: Violation[],
): ReadonlyMap<string, ReadonlyMap<string, readonly Effect[]>> {
  const byRun = new Map<string, Map<string, Effect[]>>();
  for (const effect of effects) {
    const [flowId = '', runId = '', stepId = ''] = effect.key.split('/');
    const key = runKey({ flowId, runId });
    if (!sent.has(key)) {
      violations.push({ kind: 'foreign', run: key, detail: `${effect.key} ran, and nobody had started it` });
      continue;
    }
    const ofRun = byRun.get(key) ?? new Map<string, Effect[]>();
    byRun.set(key, ofRun);
    const ofStep = ofRun.get(stepId) ?? [];
    ofRun.set(stepId, ofStep);
    ofStep.push(effect);
  }
  return byRun;
}
