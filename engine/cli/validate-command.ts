/** `flowops validate`: every problem of a flow file at once. Plugins are looked up and, if sources, built; none runs. */
import { resolve } from 'node:path';
import { type CliParts, EXIT } from '@flowops/proto/cli.ts';
import type { FlowFile } from '@flowops/proto/flow.ts';
import { hostLog } from '@flowops/proto/host-log.ts';
import { startHostProcess } from '@flowops/proto/host-process.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import { jsonLine } from '@flowops/proto/json-line.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import { machineClock } from '../base/clock.ts';
import { pause } from '../base/pause.ts';
import { readFlowFile } from '../embedded/flow-file.ts';
import { openPlugins } from '../embedded/open-plugins.ts';
import { textLog } from '../embedded/text-log.ts';
import { planStart } from '../runs/planning.ts';
import { choosePlugins } from './plugin-choice.ts';
import type { ValidateReport } from './reports.ts';

export interface ValidateOptions {
  readonly plugins?: string;
  readonly json?: true;
}

export async function validateFlow(file: string, options: ValidateOptions, parts: CliParts): Promise<void> {
  const read = await readFlowFile(file);
  const checked =
    read.flow === undefined
      ? { valid: false, problems: [], warnings: [] }
      : await checkAgainstPlugins(read.flow, file, options, parts);
  // The steps are judged once, with their plugins; what else is wrong with the file comes first.
  const report = read.ok
    ? checked
    : { valid: false, problems: [...read.ownProblems, ...checked.problems], warnings: checked.warnings };
  process.stdout.write(options.json === true ? `${jsonLine(report)}\n` : reportText(file, report));
  process.exitCode = report.valid ? EXIT.done : EXIT.failed;
}

async function checkAgainstPlugins(
  flow: FlowFile,
  flowFile: string,
  options: ValidateOptions,
  parts: CliParts,
): Promise<ValidateReport> {
  const { values, given } = await parts.settings();
  const home = resolve(values.FLOWOPS_HOME);
  const host = lazyHost({ ...given, FLOWOPS_HOME: home });
  const plugins = await openPlugins(choosePlugins({ dir: options.plugins, flowFile, settings: values }), {
    home,
    openPluginFolder: parts.openPluginFolder,
    sandbox: host.open,
    log: textLog((text) => process.stderr.write(text)),
  });
  try {
    // A flow input without a default is given by whoever runs it; here null stands for it.
    const inputs: JsonObject = {};
    for (const [name, { default: preset }] of Object.entries(flow.inputs)) inputs[name] = preset ?? null;
    const signal = new AbortController().signal;
    const planned = await planStart({
      steps: flow.steps,
      inputs,
      plugins,
      signal,
      clock: machineClock,
      pause,
      deadlineMs: 0,
    });
    return planned.ok
      ? { valid: true, problems: [], warnings: planned.warnings }
      : { valid: false, problems: planned.problems, warnings: [] };
  } finally {
    await plugins.close();
    await host.close();
  }
}

/** A sandbox host that is started when a source has to be evaluated, and only then. */
function lazyHost(settings: Readonly<Record<string, string>>) {
  let started: ReturnType<typeof startHostProcess> | undefined;
  const open = () =>
    (started ??= startHostProcess({
      role: 'cli',
      instance: `validate-${process.pid}`,
      env: { ...process.env, ...settings, LOG_LEVEL: 'warn' },
      policy: { kind: 'developer' },
      onLog: hostLog((line) => process.stderr.write(`${line}\n`)),
    }));
  const close = async () => {
    const result = await started;
    if (result?.ok === true) await result.host.close();
  };
  return { open, close };
}

function reportText(file: string, { valid, problems, warnings }: ValidateReport): string {
  const lines = [...problems, ...warnings.map((warning) => `warning: ${warning}`)].map(
    (line) => `  ${showControls(line)}\n`,
  );
  const count = `${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`;
  return `${file}: ${valid ? 'valid' : count}\n${lines.join('')}`;
}
