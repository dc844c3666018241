/**
 * `@flowops/sdk/testing`: runs a task in a test, in the test's own process. What the sandbox would refuse because the
 * manifest does not ask for it is refused with the same code, inputs are fitted as the engine fits them, outputs are
 * checked as in the sandbox, and globals that no sandbox has are not there.
 *
 * It is no sandbox: there are no limits of time, memory, CPU and log, and what a file does while it is loaded, imports of
 * Node's modules included, is done before `runTask` is called. `flowops sandbox run` has the last word.
 */
import { fitInputs } from '@flowops/proto/fit-inputs.ts';
import { isJsonObject, parseJson } from '@flowops/proto/json.ts';
import { checkManifest, type Manifest } from '@flowops/proto/manifest.ts';
import { isNetGrant } from '@flowops/proto/net-grants.ts';
import type { BaseTask } from './base-task.ts';
import type { DefinedTask, InputDefinition, OutputDefinition, OutputValues } from './define-task.ts';
import { toJsonText } from './json-text.ts';
import { METADATA, TASK, type ValueTypes } from './metadata.ts';
import { describeTask, failed, type Hook, reportThrown, runTask as runDescribed } from './task-runtime.ts';
import { guestGlobals } from './testing/guest-globals.ts';
import { type OpenGuestScope, openGuestScope } from './testing/guest-scope.ts';
import { createTestConsole } from './testing/test-console.ts';
import { MAX_TEST_OUTPUT_BYTES, type StepEnd, TestStep } from './testing/test-step.ts';
import type { RunTaskOptions, TaskResult } from './testing/test-types.ts';

export type { TestFetch } from './testing/test-fetch.ts';
export type { RunTaskOptions, TaskResult, TestLogLine, TestProgress } from './testing/test-types.ts';

/** Of all inputs together, UTF-16 units; the engine counts 8 MiB of UTF-8. */
const MAX_INPUT_LENGTH = 8 * 1024 * 1024;
/** How long a task may take to end after its stop, as STOP_GRACE_MS is unless an operator sets it. */
const STOP_GRACE_MS = 2000;
/** The real ones, whatever fake timers a test puts there later. */
const { setTimeout, clearTimeout } = globalThis;

/** Text is read by the declared type, so it may stand for any of them. */
type GivenInputs<I extends Readonly<Record<string, InputDefinition>>> = {
  readonly [K in keyof I]?: ValueTypes[I[K]['type']] | string;
};

/**
 * Runs a task once, to its end. Never rejects for what the task does; that is in the result.
 *
 * @param task a class with `@TaskType`, or what `defineTask` returned.
 * @example
 * const result = await runTask(Greet, { inputs: { name: 'Ada' } });
 * expect(result).toMatchObject({ status: 'COMPLETED', outputs: { message: 'Hello, Ada!' } });
 */
export function runTask<
  I extends Readonly<Record<string, InputDefinition>>,
  O extends Readonly<Record<string, OutputDefinition>>,
>(task: DefinedTask<I, O>, options?: RunTaskOptions<GivenInputs<I>>): Promise<TaskResult<OutputValues<O>>>;
export function runTask(task: new () => BaseTask, options?: RunTaskOptions): Promise<TaskResult>;
export async function runTask(task: unknown, options: RunTaskOptions = {}): Promise<TaskResult> {
  const step = new TestStep(options);
  const console = createTestConsole(step.init.logger);
  const globals = guestGlobals({ console, fetch: step.fetch, isNode: declaresNode(task) });
  const guest = openGuestScope({ globals, onMissing: (name) => step.missed(name) });
  try {
    return step.resultOf(await runToEnd(task, options, step, guest));
  } finally {
    guest.close();
  }
}

async function runToEnd(
  task: unknown,
  options: RunTaskOptions,
  step: TestStep,
  guest: OpenGuestScope,
): Promise<StepEnd> {
  const { init, codeOf } = step;
  const described = guest.run(() => describe(task, step));
  if ('status' in described) return described;
  if (!described.ok) return failed('PLUGIN_INVALID', described.problem);
  const read = readManifest(described.declaration.manifestJson);
  if (!read.ok) return failed('PLUGIN_INVALID', read.problem);
  step.begin(read.manifest);
  const inputs = readInputs(options.inputs ?? {}, read.manifest);
  if (!inputs.ok) return failed('INPUT_INVALID', inputs.message);
  if (options.signal?.aborted === true) return cancelled('stopped before the task began');
  const environment = {
    init,
    maxOutputLength: MAX_TEST_OUTPUT_BYTES,
    codeOf,
    onHookError: (hook: Hook, message: string) => init.logger.error(`${hook}() failed: ${message}`),
  };
  const run = guest.run(() => runDescribed(described.declaration, inputs.json, environment));
  const stop = () => {
    step.stop();
    run.call('stop');
  };
  return await untilStopped(run.report, options.signal, () => guest.run(stop));
}

function describe(task: unknown, step: TestStep): ReturnType<typeof describeTask> | StepEnd {
  try {
    return describeTask(task, step.init);
  } catch (thrown) {
    return reportThrown(thrown, step);
  }
}

/** A task that was stopped is CANCELLED, whatever it reports: the run has no use for it any more. */
function untilStopped(report: Promise<StepEnd>, signal: AbortSignal | undefined, stop: () => void): Promise<StepEnd> {
  if (signal === undefined) return report;
  return new Promise((resolve) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = (ended: StepEnd): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      resolve(ended);
    };
    const onAbort = (): void => {
      const message = `stopped, and did not end within ${STOP_GRACE_MS} ms: the sandbox ends such a task by force`;
      timer = setTimeout(() => end(cancelled(message)), STOP_GRACE_MS);
      stop();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort(); // the task's own first call may have led to it
    void report.then((ended) => end(signal.aborted ? cancelled('stopped') : ended));
  });
}

function cancelled(message: string): StepEnd {
  return { status: 'cancelled', message };
}

type ReadManifest =
  | { readonly ok: true; readonly manifest: Manifest }
  | { readonly ok: false; readonly problem: string };

function readManifest(manifestJson: string): ReadManifest {
  const parsed = parseJson(manifestJson);
  const checked = parsed.ok ? checkManifest(parsed.value) : parsed;
  if (!checked.ok) return { ok: false, problem: `the manifest is not valid: ${checked.problem}` };
  const odd = checked.manifest.permissions.net.find((text) => !isNetGrant(text));
  if (odd === undefined) return checked;
  const form = 'permissions.net takes host:port or private:host:port, the host in lower case';
  return { ok: false, problem: `the manifest asks for ${JSON.stringify(odd)}: ${form}` };
}

function readInputs(given: object, manifest: Manifest): ReturnType<typeof fitInputs> {
  const json = toJsonText(given, MAX_INPUT_LENGTH);
  if (!json.ok) return { ok: false, message: `what the test gave as inputs${json.at} ${json.problem}` };
  const parsed = parseJson(json.text);
  if (!parsed.ok || !isJsonObject(parsed.value)) {
    return { ok: false, message: 'what the test gave as inputs is no object of names and values' };
  }
  return fitInputs(parsed.value, manifest.inputs, 'task');
}

/** Before it is described, since a class is made for that, among the globals of its runtime. */
function declaresNode(task: unknown): boolean {
  if ((typeof task !== 'object' && typeof task !== 'function') || task === null) return false;
  const holder = task as { readonly [key: symbol]: unknown };
  const records: unknown[] = [holder[TASK], (holder[METADATA] as { readonly [TASK]?: unknown } | undefined)?.[TASK]];
  return records.some((record) => (record as { readonly runtime?: unknown } | undefined)?.runtime === 'node');
}
