/** `flowops run`: one flow from a file (or an interrupted run), start to end, on the embedded engine. */
import { resolve } from 'node:path';
import { type CliParts, EXIT, exitCodeOf } from '@flowops/proto/cli.ts';
import { collectInputs } from '@flowops/proto/collect-inputs.ts';
import { FlowopsError, isErrorCode } from '@flowops/proto/errors.ts';
import { fitInputs } from '@flowops/proto/fit-inputs.ts';
import type { FlowFile } from '@flowops/proto/flow.ts';
import { hostLog } from '@flowops/proto/host-log.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import { readEnvFile } from '@flowops/proto/secret-values.ts';
import { createEngine, type EmbeddedRun, type RunResult } from '../embedded.ts';
import { readFlowFile } from './flow-file.ts';
import { openPlugins } from './plugin-choice.ts';
import { jsonView, type RunView, type Streams, textView } from './run-view.ts';
import { textLog } from './text-log.ts';

export interface RunOptions {
  readonly resume?: string;
  readonly plugins?: string;
  readonly policy?: string;
  readonly input?: readonly string[];
  readonly inputs?: string;
  readonly runId?: string;
  readonly envFile?: string;
  readonly json?: true;
}

export async function runFlow(file: string | undefined, options: RunOptions, parts: CliParts): Promise<void> {
  checkCall(file, options);
  const streams: Streams = {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    hasColour: process.stderr.isTTY === true && !process.env.NO_COLOR,
  };
  const view = options.json === true ? jsonView(streams) : textView(streams);
  const { values, sources, given } = await parts.settings({ SANDBOX_POLICY: options.policy });
  const flow = file === undefined ? undefined : await prepareFlow(file, options);
  const log = textLog(streams.err);
  const policy = values.SANDBOX_POLICY;
  if (policy === undefined && options.json !== true) {
    streams.err(
      'developer policy: your own plugins, isolate tier, network and secrets as each manifest asks (--policy FILE for another)\n',
    );
  }
  const secrets = options.envFile === undefined ? undefined : await readEnvFile(options.envFile);
  const engine = await createEngine({
    home: values.FLOWOPS_HOME,
    plugins: (sandbox) =>
      openPlugins({
        ...(options.plugins === undefined ? {} : { dir: options.plugins }),
        ...(file === undefined ? {} : { flowFile: file }),
        settings: values,
        sandbox,
        parts,
        log,
      }),
    policy: policy === undefined ? { kind: 'developer' } : { kind: 'file', file: resolve(policy) },
    ...(secrets === undefined ? {} : { secrets }),
    log,
    env: {
      ...given,
      LOG_LEVEL: sources.LOG_LEVEL.from === 'default' ? 'warn' : values.LOG_LEVEL,
    },
    retentionMs: values.RUN_RETENTION,
    stateFormat: values.STATE_FORMAT,
    stopGraceMs: values.STOP_GRACE_MS,
    onHostLog: hostLog((line) => streams.err(`${line}\n`)),
    onStepLog: (_, stepId, line) => view.log(stepId, line),
    onStepProgress: (_, stepId, progress) => view.progress(stepId, progress),
  });
  try {
    const run =
      flow === undefined
        ? await engine.resume(options.resume ?? '')
        : await engine.start(flow, {
            inputs: flow.inputs,
            ...(options.runId === undefined ? {} : { runId: options.runId }),
          });
    view.started({ ...run, steps: flow?.stepCount ?? 0 });
    const interrupts = watchInterrupts(run, streams.err);
    const result = await show(run, view).finally(interrupts.close);
    process.exitCode = exitCodeFor(result, interrupts.wasInterrupted());
  } finally {
    await engine.close();
  }
}

interface PreparedFlow {
  readonly flowId: string;
  readonly steps: FlowFile['steps'];
  readonly inputs: JsonObject;
  readonly stepCount: number;
}

/** Everything that can be wrong with the file and its inputs is told before anything is started. */
async function prepareFlow(file: string, options: RunOptions): Promise<PreparedFlow> {
  const given = await collectInputs({ pairs: options.input ?? [], file: options.inputs }, process.stdin);
  const read = await readFlowFile(file);
  if (!read.ok) throw new FlowopsError('FLOW_INVALID', read.problems.join('\n'));
  const { flowId, inputs: declared, steps } = read.flow;
  const fitted = fitInputs(given, declared, 'flow');
  if (!fitted.ok) throw new FlowopsError('INPUT_INVALID', fitted.message);
  const inputs: JsonObject = { ...fitted.inputs };
  for (const [name, { default: preset }] of Object.entries(declared)) {
    if (preset !== undefined && !Object.hasOwn(inputs, name)) inputs[name] = preset;
  }
  return { flowId, steps, inputs, stepCount: Array.isArray(steps) ? steps.length : 0 };
}

function checkCall(file: string | undefined, options: RunOptions): void {
  if (file === undefined && options.resume === undefined) {
    throw new FlowopsError('USAGE_INVALID', 'name a flow file, or a run with --resume; see flowops run --help');
  }
  if (file !== undefined && options.resume !== undefined) {
    throw new FlowopsError('USAGE_INVALID', '--resume takes up a run as it is; leave the flow file out');
  }
}

async function show(run: EmbeddedRun, view: RunView): Promise<RunResult> {
  for await (const event of run.events()) view.event(event);
  const result = await run.result();
  view.result(result);
  return result;
}

function exitCodeFor(result: RunResult, wasInterrupted: boolean): number {
  if (result.status === 'COMPLETED') return EXIT.done;
  if (result.status === 'STOPPED') return wasInterrupted ? EXIT.interrupted : EXIT.failed;
  return result.code !== null && isErrorCode(result.code) ? exitCodeOf(result.code) : EXIT.failed;
}

/** The first Ctrl-C stops the run, the second kills it. */
function watchInterrupts(run: EmbeddedRun, err: Streams['err']) {
  let count = 0;
  const onSignal = () => {
    count++;
    if (count > 1) process.exit(EXIT.interrupted);
    err('stopping the run (Ctrl-C once more kills it)\n');
    void run.stop('Ctrl-C').catch((thrown: unknown) => err(`the run could not be stopped: ${String(thrown)}\n`));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    wasInterrupted: () => count > 0,
    close: () => {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}
