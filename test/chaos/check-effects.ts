/**
 * One run as its plugins tell it, held against what the status topic told: code ran only after it was announced, with
 * the inputs it had to get, never twice at one time, never after the step's completion or the run's end. Pure.
 *
 * Times are the guest's and the engine's, both of this machine; the engine's is the store's clock, measured over a
 * connection, and may be off by half a round trip.
 */
import type { Finding, StepStory, Story } from './check-events.ts';
import type { Allowance, Effect, SentRun, SentStep } from './observation.ts';

/** Far more than the clocks differ, far less than a beat of a step that should not run any more goes on. */
export const CLOCK_SLACK_MS = 300;

/** The code of a step, run once. */
interface Life {
  readonly life: string;
  readonly attempt: number;
  readonly firstMs: number;
  lastMs: number;
  hasEnded: boolean;
}

export interface EffectFigures {
  /** How often code ran beyond the first time. */
  readonly reruns: number;
  readonly findings: readonly Finding[];
}

/** @param effects of this run, by step */
export function checkEffects(
  run: SentRun,
  story: Story,
  effects: ReadonlyMap<string, readonly Effect[]>,
  allowance: Allowance,
): EffectFigures {
  const findings: Finding[] = [];
  let reruns = 0;
  for (const stepId of effects.keys()) {
    if (!run.steps.some((step) => step.stepId === stepId)) {
      findings.push({ kind: 'foreign', detail: `${stepId} ran: the run has no such step` });
    }
  }
  for (const step of run.steps) {
    const ofStep = effects.get(step.stepId) ?? [];
    const lives = livesOf(ofStep);
    reruns += Math.max(0, lives.length - 1);
    findings.push(
      ...wrongInputs(step, ofStep),
      ...untoldLives(step, lives, story.steps.get(step.stepId)),
      ...againstCompletion(step, lives, story.steps.get(step.stepId)),
      ...againstEnd(step, lives, story),
      ...(allowance.overlaps ? [] : overlaps(step, lives)),
    );
    if (new Set(lives.map(({ attempt }) => attempt)).size > 1 && !allowance.reruns) {
      findings.push({
        kind: 'reran',
        detail: `${step.stepId} was started anew: ${lives.map(textOf).join('; ')}`,
      });
    }
  }
  return { reruns, findings };
}

/** In the order in which they began. */
function livesOf(effects: readonly Effect[]): readonly Life[] {
  const lives = new Map<string, Life>();
  for (const { life, attempt, atMs, phase } of [...effects].sort((a, b) => a.atMs - b.atMs)) {
    const known = lives.get(life) ?? { life, attempt, firstMs: atMs, lastMs: atMs, hasEnded: false };
    known.lastMs = Math.max(known.lastMs, atMs);
    known.hasEnded ||= phase === 'ended';
    lives.set(life, known);
  }
  return [...lives.values()];
}

function wrongInputs(step: SentStep, effects: readonly Effect[]): readonly Finding[] {
  const wrong = effects.find(({ input }) => input !== step.input);
  if (wrong === undefined) return [];
  const detail = `${step.stepId} was given "${wrong.input}" instead of "${step.input}"`;
  return [{ kind: 'wrong-input', detail }];
}

function untoldLives(step: SentStep, lives: readonly Life[], told: StepStory | undefined): readonly Finding[] {
  return lives.flatMap((life): Finding[] => {
    const startedAtMs = told?.startedAtMs.get(life.attempt);
    if (startedAtMs === undefined) {
      return [{ kind: 'ran-untold', detail: `${step.stepId} ran, but never told as running: ${textOf(life)}` }];
    }
    if (life.firstMs >= startedAtMs - CLOCK_SLACK_MS) return [];
    const early = `${startedAtMs - life.firstMs} ms before it was told as running`;
    return [{ kind: 'ran-untold', detail: `${step.stepId} ran ${early}: ${textOf(life)}` }];
  });
}

function againstCompletion(step: SentStep, lives: readonly Life[], told: StepStory | undefined): readonly Finding[] {
  const completed = told?.completed;
  if (completed === undefined) return [];
  const findings: Finding[] = [];
  if (!lives.some(({ attempt, hasEnded }) => attempt === completed.attempt && hasEnded)) {
    const detail = `${step.stepId} was told as completed by attempt ${completed.attempt}, which did not come to its end`;
    findings.push({ kind: 'never-ran', detail });
  }
  for (const life of lives) {
    const lateMs = life.lastMs - completed.atMs;
    if (lateMs <= CLOCK_SLACK_MS) continue;
    findings.push({
      kind: 'ran-again',
      detail: `${step.stepId} ran ${lateMs} ms after its completion: ${textOf(life)}`,
    });
  }
  return findings;
}

function againstEnd(step: SentStep, lives: readonly Life[], { end }: Story): readonly Finding[] {
  if (end === undefined) return [];
  return lives.flatMap((life): Finding[] => {
    const lateMs = life.lastMs - end.atMs;
    if (lateMs <= CLOCK_SLACK_MS) return [];
    return [{ kind: 'ran-after-end', detail: `${step.stepId} ran ${lateMs} ms after ${end.status}: ${textOf(life)}` }];
  });
}

function overlaps(step: SentStep, lives: readonly Life[]): readonly Finding[] {
  const findings: Finding[] = [];
  for (const [index, life] of lives.entries()) {
    const other = lives.slice(0, index).find(({ lastMs }) => lastMs > life.firstMs);
    if (other === undefined) continue;
    const overlapMs = other.lastMs - life.firstMs;
    const detail = `${step.stepId} ran twice at one time, for ${overlapMs} ms: ${textOf(other)}; ${textOf(life)}`;
    findings.push({ kind: 'double-run', detail });
  }
  return findings;
}

function textOf({ attempt, firstMs, lastMs, hasEnded }: Life): string {
  const from = new Date(firstMs).toISOString().slice(11, 23);
  const to = new Date(lastMs).toISOString().slice(11, 23);
  return `attempt ${attempt} from ${from} to ${hasEnded ? 'its end at ' : ''}${to}`;
}
