/**
 * What `flowops run` shows while a flow runs: on a terminal and in a pipe one line for each thing that happened, under
 * `--json` the events as they are published. stdout is the result (or the JSON), stderr the rest. A plugin's text is
 * shown, not obeyed.
 */
import type { LogLine } from '@flowops/proto/attempt.ts';
import { jsonLine } from '@flowops/proto/json-line.ts';
import { logText, reportedLine } from '@flowops/proto/log-text.ts';
import type { FlowStatus, StatusEvent, StepStatus } from '@flowops/proto/statuses.ts';
import { showControls, showIndented } from '@flowops/proto/terminal-text.ts';
import type { RunResult } from '../embedded/api.ts';

/** One output on a line of its own, cut here; `--json` has it whole. */
const MAX_OUTPUT_CHARS = 2_000;

export interface Streams {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Whether stderr takes colours: a terminal, and no NO_COLOR. */
  readonly hasColour: boolean;
}

export interface RunView {
  started(run: { flowId: string; runId: string; steps: number }): void;
  event(event: StatusEvent): void;
  log(stepId: string, line: LogLine): void;
  /** @param frames where it failed, harmless for a terminal; several lines */
  stepFrames(stepId: string, frames: string): void;
  progress(stepId: string, progress: { fraction: number; message: string }): void;
  result(result: RunResult): void;
}

export function jsonView({ out }: Pick<Streams, 'out'>): RunView {
  const ignore = () => undefined;
  return {
    started: ignore,
    event: (event) => out(`${jsonLine(event)}\n`),
    log: ignore,
    stepFrames: ignore,
    progress: ignore,
    result: (result) => out(`${jsonLine({ eventType: 'RUN_RESULT', ...result })}\n`),
  };
}

const MARKS: Readonly<Record<FlowStatus | StepStatus, { mark: string; colour: number }>> = {
  PENDING: { mark: '·', colour: 2 },
  RUNNING: { mark: '▸', colour: 36 },
  PAUSED: { mark: '‖', colour: 33 },
  COMPLETED: { mark: '✓', colour: 32 },
  FAILED: { mark: '✗', colour: 31 },
  SKIPPED: { mark: '-', colour: 2 },
  CANCELLED: { mark: '-', colour: 33 },
  STOPPED: { mark: '■', colour: 33 },
};

export function textView(streams: Streams): RunView {
  const { out, err } = streams;
  const paint = (colour: number, text: string) => (streams.hasColour ? `\x1b[${colour}m${text}\x1b[0m` : text);
  const startedAt = new Map<string, number>();
  let steps = 0;
  let done = 0;
  return {
    started(run) {
      steps = run.steps;
      err(`flow ${run.flowId}, run ${run.runId}, ${steps} ${steps === 1 ? 'step' : 'steps'}\n`);
    },
    event(event) {
      const { mark, colour } = MARKS[event.status];
      const atMs = Date.parse(event.timestamp);
      if (event.eventType === 'FLOW_STATUS') {
        if (event.status !== 'RUNNING')
          err(`${paint(colour, `${mark} flow ${event.status}`)}${errorText(event.error)}\n`);
        return;
      }
      const { stepId, status, attempt = 1 } = event;
      if (status === 'RUNNING') {
        startedAt.set(stepId, atMs);
        err(`  ${paint(colour, mark)} ${stepId}${attempt > 1 ? ` (attempt ${attempt})` : ''}\n`);
        return;
      }
      done++;
      const began = startedAt.get(stepId);
      const took = began === undefined ? '' : ` ${atMs - began} ms`;
      err(
        `  ${paint(colour, mark)} ${stepId} ${status.toLowerCase()}${took} [${done}/${steps}]${errorText(event.error)}\n`,
      );
    },
    log(stepId, line) {
      err(`    ${stepId} ${logText(reportedLine(line), streams.hasColour)}\n`);
    },
    stepFrames(stepId, frames) {
      if (frames !== '') err(`    ${stepId} ${frames.trimStart().replaceAll('\n', '\n    ')}\n`);
    },
    progress(stepId, { fraction, message }) {
      err(`    ${stepId} ${Math.round(fraction * 100)} %${message === '' ? '' : ` ${showControls(message)}`}\n`);
    },
    result(result) {
      for (const [stepId, outputs] of Object.entries(result.outputs)) {
        for (const [key, value] of Object.entries(outputs))
          out(`${stepId}.${key} = ${cut(showControls(JSON.stringify(value)))}\n`);
      }
    },
  };
}

function errorText(error: string | null): string {
  return error === null ? '' : `: ${showIndented(error)}`;
}

function cut(text: string): string {
  return text.length > MAX_OUTPUT_CHARS ? `${text.slice(0, MAX_OUTPUT_CHARS)}… (${text.length} characters)` : text;
}
