/**
 * One run as the status topic tells it: first copies in order and gap-free, repeats that say the same, no event that
 * cannot follow those before it, one end that what was sent explains. Pure.
 */
import { assertNever } from '@flowops/proto/errors.ts';
import {
  type FlowStatus,
  type FlowStatusEvent,
  isFinalFlowStatus,
  type StatusEvent,
  type StepStatus,
  type StepStatusEvent,
} from '@flowops/proto/statuses.ts';
import type { Allowance, SentRun, ViolationKind } from './observation.ts';

export interface ToldEvent {
  readonly event: StatusEvent;
  readonly sequence: number;
  /** As it was sent: a repeat is the same text. */
  readonly value: string;
}

export interface Finding {
  readonly kind: ViolationKind;
  readonly detail: string;
}

/** What the events of a run tell about one step. */
export interface StepStory {
  status: StepStatus;
  /** Attempt → when it was told as running, epoch ms. */
  readonly startedAtMs: Map<number, number>;
  completed?: { readonly attempt: number; readonly atMs: number };
}

export interface Story {
  readonly steps: ReadonlyMap<string, StepStory>;
  readonly end: { readonly status: FlowStatus; readonly atMs: number } | undefined;
  readonly firstCopies: number;
  readonly repeats: number;
  readonly findings: readonly Finding[];
}

export function readStory(run: SentRun, told: readonly ToldEvent[], allowance: Allowance): Story {
  const reading = new Reading(run, allowance);
  const { firsts, repeats, findings } = firstCopies(told);
  for (const { event } of firsts) reading.take(event);
  reading.close();
  return {
    steps: reading.steps,
    end: reading.end,
    firstCopies: firsts.length,
    repeats,
    findings: [...findings, ...reading.findings],
  };
}

function firstCopies(told: readonly ToldEvent[]) {
  const bySequence = new Map<number, ToldEvent>();
  const firsts: ToldEvent[] = [];
  const ids = new Set<string>();
  const findings: Finding[] = [];
  let highest = 0;
  let repeats = 0;
  for (const one of told) {
    const first = bySequence.get(one.sequence);
    if (first !== undefined) {
      repeats++;
      if (first.value !== one.value) {
        findings.push({ kind: 'altered', detail: `${one.sequence} was told as ${first.value} and as ${one.value}` });
      }
      continue;
    }
    if (one.sequence !== highest + 1) {
      findings.push({ kind: 'gap', detail: `${one.sequence} came after ${highest}: ${one.value}` });
    }
    const id = one.event.eventId ?? '';
    if (ids.has(id)) findings.push({ kind: 'altered', detail: `the eventId ${id} was used again: ${one.value}` });
    ids.add(id);
    bySequence.set(one.sequence, one);
    firsts.push(one);
    highest = Math.max(highest, one.sequence);
  }
  return { firsts, repeats, findings };
}

class Reading {
  readonly steps = new Map<string, StepStory>();
  readonly findings: Finding[] = [];
  end: Story['end'];
  readonly #run: SentRun;
  readonly #allowance: Allowance;
  #status: FlowStatus = 'PENDING';

  constructor(run: SentRun, allowance: Allowance) {
    this.#run = run;
    this.#allowance = allowance;
  }

  take(event: StatusEvent): void {
    if (this.end !== undefined) {
      this.#find('after-end', `${textOf(event)} was told after ${this.end.status}`);
    } else if (event.eventType === 'FLOW_STATUS') {
      this.#takeFlow(event);
    } else {
      this.#takeStep(event);
    }
  }

  close(): void {
    if (this.end === undefined)
      this.#find('no-end', `it is ${this.#status}, and ${this.#openSteps().join(', ') || 'no step'} is open`);
  }

  #takeFlow(event: FlowStatusEvent): void {
    const from = this.#status;
    this.#status = event.status;
    switch (event.status) {
      case 'PENDING':
        this.#find('order', 'PENDING was told');
        return;
      case 'RUNNING':
        if (from !== 'PENDING' && from !== 'PAUSED') this.#find('order', `RUNNING was told after ${from}`);
        return;
      case 'PAUSED':
        if (from !== 'RUNNING') this.#find('order', `PAUSED was told after ${from}`);
        return;
      case 'COMPLETED':
      case 'FAILED':
      case 'STOPPED':
        this.#takeEnd(event);
        return;
      default:
        assertNever(event.status);
    }
  }

  #takeEnd(event: FlowStatusEvent): void {
    const { status } = event;
    this.end = { status, atMs: Date.parse(event.timestamp) };
    const isExcused = status === 'FAILED' && this.#allowance.codes.some((code) => code === event.code);
    if (!this.#run.mayEnd.includes(status) && !isExcused) {
      this.#find('wrong-end', `${textOf(event)}, where only ${this.#run.mayEnd.join(' or ')} is right`);
    }
    const open = this.#openSteps();
    if (open.length > 0) this.#find('order', `${status} was told while ${open.join(', ')} was running`);
    if (status !== 'COMPLETED') return;
    const missing = this.#run.steps.filter(({ stepId }) => this.steps.get(stepId)?.status !== 'COMPLETED');
    if (missing.length > 0) {
      this.#find('order', `COMPLETED was told without ${missing.map(({ stepId }) => stepId).join(', ')}`);
    }
  }

  #takeStep(event: StepStatusEvent): void {
    const sent = this.#run.steps.find(({ stepId }) => stepId === event.stepId);
    if (sent === undefined) {
      this.#find('foreign', `${textOf(event)}: the run has no such step`);
      return;
    }
    const step: StepStory = this.steps.get(event.stepId) ?? { status: 'PENDING', startedAtMs: new Map() };
    this.steps.set(event.stepId, step);
    if (step.status !== 'PENDING' && step.status !== 'RUNNING') {
      this.#find('order', `${textOf(event)} was told after the step's ${step.status}`);
      return;
    }
    const last = Math.max(0, ...step.startedAtMs.keys());
    const atMs = Date.parse(event.timestamp);
    if (event.status === 'RUNNING') {
      this.#checkStart(event, sent.after, last);
      step.startedAtMs.set(event.attempt ?? 0, atMs);
    } else if (event.status === 'COMPLETED') {
      if (last === 0 || event.attempt !== last)
        this.#find('order', `${textOf(event)} was told while attempt ${last} ran`);
      step.completed = { attempt: event.attempt ?? 0, atMs };
    } else if (event.status === 'FAILED' && !this.#allowance.codes.some((code) => code === event.code)) {
      this.#find('wrong-end', `${textOf(event)}: nothing explains the failure`);
    }
    step.status = event.status;
  }

  #checkStart(event: StepStatusEvent, after: readonly string[], last: number): void {
    if (event.attempt !== last + 1) this.#find('order', `${textOf(event)} was told after attempt ${last}`);
    if (this.#status !== 'RUNNING') this.#find('order', `${textOf(event)} was told while the run was ${this.#status}`);
    const missing = after.filter((stepId) => this.steps.get(stepId)?.status !== 'COMPLETED');
    if (missing.length > 0) this.#find('order', `${textOf(event)} was told before ${missing.join(', ')} had completed`);
  }

  #openSteps(): readonly string[] {
    return [...this.steps].filter(([, { status }]) => status === 'RUNNING').map(([stepId]) => stepId);
  }

  #find(kind: ViolationKind, detail: string): void {
    this.findings.push({ kind, detail });
  }
}

function textOf(event: StatusEvent): string {
  const what = event.eventType === 'FLOW_STATUS' ? event.status : `${event.stepId} ${event.status}`;
  const attempt = event.eventType === 'STEP_STATUS' && event.attempt !== undefined ? ` (attempt ${event.attempt})` : '';
  return `${what}${attempt}${event.error === null ? '' : `: ${event.code ?? ''} ${event.error}`}`;
}

/** Whether a run's last event has been told. */
export function isEnd(event: StatusEvent): boolean {
  return event.eventType === 'FLOW_STATUS' && isFinalFlowStatus(event.status);
}
