/** Whether one attempt of a case went as it must. Pure: what was seen comes in, what was wrong comes out. */
import { isDeepStrictEqual } from 'node:util';
import type { EffectiveLimits } from '@flowops/proto/receipt.ts';
import { LINE_COST_BYTES } from '../attempts/log-cap.ts';
import { type Canaries, canariesIn } from './canaries.ts';
import type { Expectation } from './case.ts';
import type { StepRun } from './step.ts';

/** A loaded machine is slow, and a step that got no core is run once more; one that never ends takes far longer. */
export const GRACE_MS = 8_000;
const MAX_SHOWN = 200;
/** Of a message and of a stack: they go into events and onto screens. */
const MAX_TEXT_LENGTH = 8 * 1024;

export interface Seen {
  readonly run: StepRun;
  readonly neighbour: StepRun;
  readonly limits: EffectiveLimits;
  readonly stopAfterMs: number | undefined;
  /** There were more at once than a host runs: the time of those that are run again counts from then on. */
  readonly isCrowd?: boolean;
}

/** How it ended and what it left as text, whatever it ran in. */
export type SeenEnd = Pick<StepRun, 'message' | 'stack'> & {
  readonly ending: string;
  readonly outputs: unknown;
  readonly lines: readonly { readonly message: string }[];
};

/** Of question 1, all but the time. */
export function problemsOfEnd(run: SeenEnd, expect: Expectation): string[] {
  const problems: string[] = [];
  if (!expect.endings.some((ending) => ending === run.ending)) {
    problems.push(
      `ended ${run.ending}${run.message === '' ? '' : ` (${cut(run.message)})`}, not ${expect.endings.join(' or ')}`,
    );
  } else if (
    run.ending === 'COMPLETED' &&
    expect.outputs !== undefined &&
    !isDeepStrictEqual(run.outputs, expect.outputs)
  ) {
    problems.push(`gave ${cut(JSON.stringify(run.outputs))}, not ${cut(JSON.stringify(expect.outputs))}`);
  }
  if (expect.lines !== undefined) {
    const lines = run.lines.map(({ message }) => message);
    if (!isDeepStrictEqual(lines, expect.lines)) problems.push(`logged ${cut(JSON.stringify(lines))}`);
  }
  if (expect.stack !== undefined && run.stack !== expect.stack) problems.push(`has the stack ${cut(run.stack)}`);
  if (expect.says !== undefined && !run.message.includes(expect.says)) problems.push(`says ${cut(run.message)}`);
  const longest = Math.max(run.message.length, run.stack.length);
  if (longest > MAX_TEXT_LENGTH) problems.push(`told its end in ${longest} characters`);
  return problems;
}

/** Questions 1 to 3; what is left afterwards is asked once for the whole case. */
export function problemsOf(seen: Seen, expect: Expectation, canaries: Canaries): string[] {
  const { run, neighbour, limits } = seen;
  const problems = problemsOfEnd(run, expect);
  const deadlineMs = deadlineOf(seen) + GRACE_MS;
  const tookMs = (seen.isCrowd ? run.receipt?.runMs : undefined) ?? run.elapsedMs;
  if (tookMs > deadlineMs) problems.push(`took ${Math.round(tookMs)} ms; its end was due after ${deadlineMs} ms`);
  const logged = run.lines.reduce((sum, { message }) => sum + Buffer.byteLength(message), 0);
  if (logged > limits.logBytes + MAX_LINE_SLACK)
    problems.push(`${logged} bytes of log came out; the cap is ${limits.logBytes}`);
  const mostLines = limits.logBytes / LINE_COST_BYTES + MAX_OTHER_LINES + run.elapsedMs / PROGRESS_MS;
  if (run.lines.length > mostLines) problems.push(`${run.lines.length} lines of log and progress came out`);
  if (neighbour.ending !== 'COMPLETED') {
    problems.push(`a neighbour's step ended ${neighbour.ending} (${cut(neighbour.message)})`);
  }
  const all = JSON.stringify([run.outputs, run.message, run.stack, run.lines, run.receipt]);
  if (expect.keepsBack !== undefined && all.includes(expect.keepsBack)) problems.push('a granted secret came out');
  const leaks = canariesIn(all, canaries);
  if (leaks.length > 0) problems.push(`a secret that was not granted came out: ${leaks.join(', ')}`);
  return problems;
}

/** What the host itself says in the log of a step. */
const MAX_OTHER_LINES = 16;
/** Progress comes out at most so often. */
const PROGRESS_MS = 40;
/** Of progress texts and cut marks, which are no log. */
const MAX_LINE_SLACK = 4 * 1024;

/** Twice: a step that others kept from a core is run again once. */
function deadlineOf({ limits, stopAfterMs }: Seen): number {
  return stopAfterMs === undefined ? 2 * limits.wallMs : Math.min(stopAfterMs, 2 * limits.wallMs);
}

function cut(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
