/**
 * Looks at every write that the store takes: state and the event that tells it come together (G3), a final step stays as
 * it is and says what its code really did (G4, G9), STOPPED comes when nothing runs (G5), events leave the outbox only when
 * they were sent, and a run leaves the index only when it is over and told (G1).
 */
import { isOutcomeEntry } from '@flowops/engine/runs/codec.ts';
import { runName } from '@flowops/engine/store/keys.ts';
import type { RunPatch } from '@flowops/engine/store/run-store.ts';
import { type StatusEvent, statusEventSchema } from '@flowops/proto/statuses.ts';
import { z } from 'zod';
import type { Row, StoreWitness } from '../store/store-data.ts';
import type { World } from '../world/world.ts';
import { checkStepEnd } from './step-end-check.ts';
import type { LostWrite, RunTruth, Truth } from './truth.ts';
import type { Violations } from './violation.ts';

const recordSchema = z.object({ status: z.string() });
const outcomeSchema = z.object({ triggeredBy: z.string().nullable() });
const FINAL_STEPS = new Set(['COMPLETED', 'FAILED', 'CANCELLED', 'SKIPPED']);
export const FINAL_FLOWS: ReadonlySet<string> = new Set(['COMPLETED', 'FAILED', 'STOPPED']);

export class StoreCheck implements StoreWitness {
  readonly #world: World;
  readonly #truth: Truth;
  readonly #violations: Violations;

  constructor(world: World, truth: Truth, violations: Violations) {
    this.#world = world;
    this.#truth = truth;
    this.#violations = violations;
  }

  created(row: Row, patch: RunPatch): void {
    const run = this.#truth.run(runName(row.ref));
    const write = { follows: 0, epoch: row.epoch, text: `${row.partition} ${textOf(patch)}` };
    const isAgain = run.lost.length > 0 && run.epoch === row.epoch;
    if (run.lost.length > 0 && !isAgain) this.#excuse(run, 'it is created anew after the store had lost it');
    run.epoch = row.epoch;
    if (isAgain && this.#repeats(run, write)) return;
    if (isAgain) {
      this.#writtenWhole(run, row, patch, write);
      return;
    }
    run.createdMs = this.#world.nowMs;
    run.writes = [write];
    run.lost = [];
    run.events = [];
    run.steps.clear();
    run.flow = 'QUEUED';
    this.#apply(run, row, patch);
  }

  committed(before: Row, after: Row, patch: RunPatch, former: ReadonlyMap<string, string>): void {
    const run = this.#truth.run(runName(after.ref));
    const write = { follows: before.revision, epoch: after.epoch, text: textOf(patch) };
    run.epoch = after.epoch;
    if (this.#repeats(run, write)) return;
    if (run.lost.length > 0 && patch.outboxFrom !== undefined) {
      this.#writtenWhole(run, after, patch, write);
      return;
    }
    const [first] = run.lost;
    run.writes.push(write);
    if (first !== undefined) {
      if (first.epoch === write.epoch && !run.isExcused) {
        this.#violations.report('G3', `${run.key}: after the store went back, its owner wrote another history`);
      }
      this.#excuse(run, 'another write came before its lost ones');
    }
    if (run.isExcused) return;
    if (after.epoch < before.epoch) this.#violations.report('G2', `${run.key}: epoch ${before.epoch} was lowered`);
    this.#checkAcknowledged(run, before, patch);
    for (const [stepId, record] of former) {
      if (!FINAL_STEPS.has(statusOf(record)) || after.steps.get(stepId) === record) continue;
      this.#violations.report('G4', `${run.key}: step ${stepId} was final and changed: ${record}`);
    }
    this.#apply(run, after, patch);
  }

  /** Whether it is the next of the writes that the store has lost. */
  #repeats(run: RunTruth, write: LostWrite): boolean {
    const [first] = run.lost;
    if (first === undefined || first.follows !== write.follows || first.text !== write.text) return false;
    run.lost.shift();
    run.writes.push(write);
    return true;
  }

  /** All of it in one write, after the store had lost more than could be repeated: it says what was said before. */
  #writtenWhole(run: RunTruth, row: Row, patch: RunPatch, write: LostWrite): void {
    run.lost = [];
    run.writes = [write];
    const known = new Set(run.events.map(({ text }) => text));
    for (const entry of patch.events ?? []) {
      if (isOutcomeEntry(entry) || known.has(entry) || run.isExcused) continue;
      this.#violations.report('G3', `${run.key}: written whole after a loss, it tells ${entry} for the first time`);
    }
    if (!run.isExcused) this.#checkState(run, row, patch);
  }

  claimed(row: Row, formerEpoch: number): void {
    const run = this.#truth.run(runName(row.ref));
    run.epoch = row.epoch;
    if (run.lost.length > 0)
      this.#excuse(run, `it was claimed (former epoch ${formerEpoch}) before lost writes were repeated`);
  }

  retired(row: Row): void {
    const run = this.#truth.run(runName(row.ref));
    if (run.isExcused) return;
    if (!FINAL_FLOWS.has(row.fields.get('status') ?? '')) {
      this.#violations.report('G1', `${run.key} leaves the index and is ${row.fields.get('status')}`);
    }
    const unsent = row.outbox.filter((entry) => !this.#truth.published.has(entry));
    if (unsent.length > 0) this.#violations.report('G1', `${run.key} leaves the index before ${unsent[0]} was sent`);
  }

  wentBack(row: Row | undefined, name: string): void {
    const run = this.#truth.run(name);
    const revision = row?.revision ?? 0;
    const lost = run.writes.filter(({ follows }) => follows >= revision);
    run.writes = run.writes.filter(({ follows }) => follows < revision);
    run.lost = [...lost, ...run.lost];
    // What only said that events were sent is told again with them.
    if (run.lost.every(({ text }) => text === NOTHING)) run.lost = [];
    run.cameBack = true;
    this.#world.tell('store', `${name} is back at revision ${revision}; lost ${lost.length} writes`);
  }

  #apply(run: RunTruth, row: Row, patch: RunPatch): void {
    for (const entry of patch.events ?? []) this.#takeEntry(run, entry);
    this.#checkState(run, row, patch);
  }

  /** State and events say the same. */
  #checkState(run: RunTruth, row: Row, patch: RunPatch): void {
    for (const [stepId, record] of Object.entries(patch.steps ?? {})) {
      const status = statusOf(record);
      const told = run.steps.get(stepId);
      const shown = status === 'WAITING' ? 'RUNNING' : status;
      if (told !== shown) {
        this.#violations.report('G3', `${run.key}: step ${stepId} is ${status} in its state and ${told} in its events`);
      }
      if (FINAL_STEPS.has(status))
        checkStepEnd({ truth: this.#truth, run, stepId, record, row, report: this.#violations });
    }
    const status = row.fields.get('status') ?? '';
    if (status !== run.flow) {
      this.#violations.report('G3', `${run.key} is ${status} in its state and ${run.flow} in its events`);
    }
    const sequence = Number(row.fields.get('sequence') ?? 0);
    if (sequence !== run.events.length) {
      this.#violations.report(
        'G3',
        `${run.key}: its state counts ${sequence} events, ${run.events.length} were committed`,
      );
    }
  }

  #takeEntry(run: RunTruth, entry: string): void {
    if (isOutcomeEntry(entry)) {
      const { triggeredBy } = outcomeSchema.parse(JSON.parse(entry));
      const committed = this.#truth.outcomesCommittedMs;
      if (triggeredBy !== null && !committed.has(triggeredBy)) committed.set(triggeredBy, this.#world.nowMs);
      return;
    }
    const event = statusEventSchema.parse(JSON.parse(entry));
    if (event.sequence !== run.events.length + 1) {
      this.#violations.report('G3', `${run.key}: event ${entry} follows ${run.events.length} others`);
    }
    if (FINAL_FLOWS.has(run.flow)) this.#violations.report('G3', `${run.key} was ${run.flow}, then came ${entry}`);
    run.events.push({ text: entry, event });
    this.#follow(run, event);
  }

  #follow(run: RunTruth, event: StatusEvent): void {
    if (event.eventType === 'STEP_STATUS') {
      run.steps.set(event.stepId, event.status);
      return;
    }
    run.flow = event.status;
    const unfinished = [...run.steps].filter(([, status]) => !FINAL_STEPS.has(status));
    if (FINAL_FLOWS.has(event.status) && unfinished.length > 0) {
      this.#violations.report('G3', `${run.key} is ${event.status} and its step ${unfinished[0]?.join(' is ')}`);
    }
    if (event.status === 'COMPLETED' && run.flows.every(({ steps }) => run.steps.size !== steps.length)) {
      this.#violations.report('G3', `${run.key} is COMPLETED with ${run.steps.size} steps`);
    }
    if (event.status !== 'STOPPED') return;
    const [running] = this.#truth.running(run);
    if (running !== undefined) {
      const { stepId, attempt, host } = running.code;
      this.#violations.report('G5', `${run.key} is STOPPED while ${stepId}, attempt ${attempt}, runs at ${host}`);
    }
  }

  #checkAcknowledged(run: RunTruth, before: Row, patch: RunPatch): void {
    const count = (patch.acknowledged ?? 0) - before.head + 1;
    for (const entry of before.outbox.slice(0, Math.max(0, count))) {
      if (this.#truth.published.has(entry)) continue;
      this.#violations.report('G1', `${run.key}: ${entry} was acknowledged and never sent`);
    }
  }

  #excuse(run: RunTruth, why: string): void {
    if (run.isExcused) return;
    run.isExcused = true;
    this.#world.tell('checks', `${run.key} is excused: ${why}`);
  }
}

function statusOf(record: string): string {
  return recordSchema.parse(JSON.parse(record)).status;
}

const NOTHING = textOf({});

function textOf(patch: RunPatch): string {
  const { steps = {}, outputs = {}, events = [], definition = '' } = patch;
  return JSON.stringify([steps, outputs, events, definition]);
}
