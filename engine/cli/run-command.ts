/**
 * `flowops run`: one flow from a file (or an interrupted run), start to end, on the embedded engine; what it does beside
 * that is options, Ctrl-C and showing.
 */
import { resolve } from 'node:path';
import { type CliParts, EXIT, exitCodeOf } from '@flowops/proto/cli.ts';
import { collectInputs } from '@flowops/proto/collect-inputs.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import { takesColour } from '@flowops/proto/log-text.ts';
import { readEnvFile } from '@flowops/proto/secret-values.ts';
import type { Settings } from '@flowops/proto/settings-reader.ts';
import type { EngineOptions, Flow, FlowEngine, FlowRun, RunResult } from '../embedded/api.ts';
import { createEngine } from '../embedded/create-engine.ts';
import { givenSettings } from '../embedded/engine-settings.ts';
import { prepareFlow, readFlow } from '../embedded/read-flow.ts';
import { textLog } from '../embedded/text-log.ts';
import { choosePlugins } from './plugin-choice.ts';
import { jsonView, type RunView, type Streams, textView } from './run-view.ts';
import { StepFrames } from './step-frames.ts';

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
    hasColour: takesColour(process.stderr),
  };
  const view = options.json === true ? jsonView(streams) : textView(streams);
  const settings = await parts.settings({ SANDBOX_POLICY: options.policy });
  const flow = file === undefined ? undefined : await prepare(file, options);
  const frames = new StepFrames(view);
  const engine = await createEngine(await engineOptions({ file, options, settings, streams, view, frames }), parts);
  try {
    const run = await begin(engine, flow, options);
    view.started({ ...run, steps: flow?.flow.steps.length ?? 0 });
    const interrupts = watchInterrupts(run, streams.err);
    const result = await show(run, view, frames).finally(interrupts.close);
    process.exitCode = exitCodeFor(result, interrupts.wasInterrupted());
  } finally {
    await engine.close();
  }
}

interface PreparedRun {
  readonly flow: Flow;
  readonly inputs: JsonObject;
}

/** Everything that can be wrong with the file and its inputs is told before anything is started. */
async function prepare(file: string, options: RunOptions): Promise<PreparedRun> {
  const inputs = await collectInputs({ pairs: options.input ?? [], file: options.inputs }, process.stdin);
  const flow = await readFlow(file);
  prepareFlow(flow, inputs, 'flow');
  return { flow, inputs };
}

interface Call {
  readonly file: string | undefined;
  readonly options: RunOptions;
  readonly settings: Settings;
  readonly streams: Streams;
  readonly view: RunView;
  readonly frames: StepFrames;
}

async function engineOptions({ file, options, settings, streams, view, frames }: Call): Promise<EngineOptions> {
  const { values } = settings;
  const policy = values.SANDBOX_POLICY;
  if (policy === undefined && options.json !== true) {
    streams.err(
      'developer policy: your own plugins, isolate tier, network and secrets as each manifest asks (--policy FILE for another)\n',
    );
  }
  const secrets = options.envFile === undefined ? undefined : await readEnvFile(options.envFile);
  return {
    home: values.FLOWOPS_HOME,
    plugins: choosePlugins({ dir: options.plugins, flowFile: file, settings: values }),
    policy: policy === undefined ? 'developer' : resolve(policy),
    ...(secrets === undefined ? {} : { secrets: Object.fromEntries(secrets) }),
    settings: givenSettings(settings),
    log: textLog(streams.err),
    onStepLog: ({ stepId, ...line }) => view.log(stepId, line),
    onStepProgress: ({ stepId, ...progress }) => view.progress(stepId, progress),
    onStepError: (error) => frames.show(error),
  };
}

function begin(engine: FlowEngine, prepared: PreparedRun | undefined, options: RunOptions): Promise<FlowRun> {
  if (prepared === undefined) return engine.resume(options.resume ?? '');
  const { flow, inputs } = prepared;
  return engine.start(flow, { inputs, ...(options.runId === undefined ? {} : { runId: options.runId }) });
}

function checkCall(file: string | undefined, options: RunOptions): void {
  if (file === undefined && options.resume === undefined) {
    throw new FlowopsError('USAGE_INVALID', 'name a flow file, or a run with --resume; see flowops run --help');
  }
  if (file !== undefined && options.resume !== undefined) {
    throw new FlowopsError('USAGE_INVALID', '--resume takes up a run as it is; leave the flow file out');
  }
}

async function show(run: FlowRun, view: RunView, frames: StepFrames): Promise<RunResult> {
  for await (const event of run.events({ from: run.toldBefore + 1 })) view.event(event);
  const result = await run.result();
  await frames.shown();
  view.result(result);
  return result;
}

function exitCodeFor(result: RunResult, wasInterrupted: boolean): number {
  if (result.status === 'COMPLETED') return EXIT.done;
  if (result.status === 'STOPPED') return wasInterrupted ? EXIT.interrupted : EXIT.failed;
  return result.code === null ? EXIT.failed : exitCodeOf(result.code);
}

/** The first Ctrl-C stops the run, the second kills it. */
function watchInterrupts(run: FlowRun, err: Streams['err']) {
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
