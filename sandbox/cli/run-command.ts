/**
 * `flowops sandbox run`: settings, policy, host, signals and the two output streams around run-plugin.ts and
 * watch-plugin.ts. stdout gets the result, stderr all that happens on the way; `--json` is one object on stdout, with
 * `--watch` one line for each run.
 */
import path from 'node:path';
import { type CliParts, EXIT, exitCodeOf } from '@flowops/proto/cli.ts';
import { collectInputs } from '@flowops/proto/collect-inputs.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { jsonLine } from '@flowops/proto/json-line.ts';
import { logText, takesColour } from '@flowops/proto/log-text.ts';
import { readEnvFile } from '@flowops/proto/secret-values.ts';
import { showControls, showIndented } from '@flowops/proto/terminal-text.ts';
import { type BuiltPlugin, formatProblem } from '@flowops/sdk/build/build-result.ts';
import { describeDeveloperPolicy } from '../policy/developer-text.ts';
import { CommandHost, type HostPolicy } from './open-host.ts';
import { type Debugger, type RanPlugin, type RunPluginOptions, type RunPluginParts, runPlugin } from './run-plugin.ts';
import { outputsText, progressText, receiptText } from './run-text.ts';
import { startCommandHost } from './start-host.ts';

export interface SandboxRunOptions {
  readonly input?: readonly string[];
  readonly inputs?: string;
  readonly tier?: 'isolate' | 'container';
  readonly policy?: string;
  readonly envFile?: string;
  readonly watch?: true;
  readonly inspect?: true;
  readonly inspectPort?: number;
  readonly json?: true;
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

export async function sandboxRun(plugin: string, options: SandboxRunOptions, parts: CliParts): Promise<void> {
  const isDebugged = options.inspect === true || options.inspectPort !== undefined;
  checkCall(options, isDebugged);
  const settings = await parts.settings({ SANDBOX_POLICY: options.policy });
  const { values } = settings;
  const policy = await policyOf(values.SANDBOX_POLICY);
  const readInputs = inputsReader(options);
  const inputs = await readInputs();
  const secrets = options.envFile === undefined ? undefined : await readEnvFile(options.envFile);
  const host = new CommandHost(() => startCommandHost({ policy, settings, secrets, isDebugged }));
  host.prepare();
  const interrupts = watchInterrupts(host);
  const run: RunPluginOptions = {
    plugin,
    inputs,
    tier: options.tier,
    cacheDir: path.join(values.FLOWOPS_HOME, 'cache'),
    stopGraceMs: values.STOP_GRACE_MS,
  };
  const around: RunPluginParts = {
    ...listener(policy.kind === 'developer'),
    sandbox: () => host.open(),
    stop: interrupts.stop,
    ...(isDebugged ? { debug: ({ name }) => openDebugger(name, options.inspectPort ?? 0) } : {}),
  };
  const print = (ran: RanPlugin): void => printRan(ran, options.json === true);
  try {
    if (options.watch === true) {
      const { sandboxWatch } = await import('./watch-command.ts');
      const ran = await sandboxWatch({ run, around, readInputs, inputsFile: options.inputs, print, say });
      process.exitCode = ran === undefined ? EXIT.interrupted : exitCodeFor(ran, interrupts.stop.aborted);
    } else {
      const ran = await runPlugin(run, around);
      print(ran);
      process.exitCode = exitCodeFor(ran, interrupts.stop.aborted);
    }
  } finally {
    interrupts.close();
    await host.close();
  }
}

function checkCall({ tier, watch }: SandboxRunOptions, isDebugged: boolean): void {
  if (isDebugged && tier === 'container') {
    throw new FlowopsError('USAGE_INVALID', '--inspect opens a debugger on an isolate; leave --tier container out');
  }
  if (isDebugged && watch === true) {
    throw new FlowopsError('USAGE_INVALID', '--inspect waits for a debugger once; leave --watch out');
  }
}

/** What was given with the call, or stands in the file now; standard input is read once. */
function inputsReader({ input = [], inputs: file }: SandboxRunOptions): () => ReturnType<typeof collectInputs> {
  const read = () => collectInputs({ pairs: input, file }, process.stdin);
  if (file !== '-') return read;
  let first: ReturnType<typeof collectInputs> | undefined;
  return () => {
    first ??= read();
    return first;
  };
}

/** What is said while a plugin runs. Warnings and what is granted are said when they are news. */
function listener(isDeveloper: boolean): Pick<RunPluginParts, 'onPlugin' | 'onLog' | 'onProgress'> {
  const hasColour = takesColour(process.stderr);
  let told = '';
  return {
    onPlugin: (built) => {
      const text = introText(built, isDeveloper);
      if (text !== told && text !== '') say(text);
      told = text;
    },
    onLog: (line) => say(logText(line, hasColour)),
    onProgress: (progress) => say(progressText(progress)),
  };
}

function introText({ manifest, warnings }: BuiltPlugin, isDeveloper: boolean): string {
  const problems = warnings.map((warning) => showControls(`warning: ${formatProblem(warning)}`, { keepLines: true }));
  const policy = isDeveloper ? describeDeveloperPolicy(manifest.permissions).map((line) => showControls(line)) : [];
  return [...problems, ...policy].join('\n');
}

/** Prints where the debugger is to be pointed at; the plugin waits for it. */
async function openDebugger(name: string, port: number): Promise<Debugger> {
  const { openDebuggerBridge } = await import('./debugger-bridge.ts');
  const onAttached = (): void => say('the debugger is there');
  const bridge = await openDebuggerBridge({ port, title: `FlowOps plugin ${name}`, onAttached });
  say(`debugger: ${bridge.url}`);
  say(`open in Chrome: ${bridge.devtoolsUrl}`);
  say('the plugin waits for the debugger and stops at its first line; wall and CPU limits are lifted meanwhile');
  return bridge;
}

/** Read here too, so that a mistake in the file is told before anything is started. */
async function policyOf(file: string | undefined): Promise<HostPolicy> {
  if (file === undefined) return { kind: 'developer' };
  const { loadPolicy } = await import('../policy/load.ts');
  const loaded = await loadPolicy(file);
  if (loaded.ok) return { kind: 'file', file };
  const { formatProblem: policyProblem } = await import('../policy/document.ts');
  throw new FlowopsError('CONFIG_INVALID', loaded.problems.map(policyProblem).join('\n'));
}

function printRan({ report, frames }: RanPlugin, isJson: boolean): void {
  if (isJson) {
    process.stdout.write(`${jsonLine(report)}\n`);
    return;
  }
  const { status, code, error, outputs, receipt } = report;
  if (status === 'COMPLETED') process.stdout.write(`${outputsText(outputs)}\n\n`);
  else process.stderr.write(`failed: ${code}: ${showIndented(error ?? '')}\n`);
  if (frames !== '') process.stderr.write(`${frames}\n`);
  if (receipt !== null) process.stdout.write(`${receiptText(receipt)}\n`);
}

/** What came to its end in spite of a Ctrl-C is done; whatever else an interrupted plugin did, it was stopped. */
function exitCodeFor({ report }: RanPlugin, isInterrupted: boolean): number {
  if (report.code === null) return EXIT.done;
  return isInterrupted ? EXIT.interrupted : exitCodeOf(report.code);
}

/** The first Ctrl-C stops the plugin, the second kills it with its host. */
function watchInterrupts(host: CommandHost): { stop: AbortSignal; close: () => void } {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) {
      void host.close();
      return;
    }
    process.stderr.write('stopping (Ctrl-C once more kills)\n');
    controller.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    stop: controller.signal,
    close: () => {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}
