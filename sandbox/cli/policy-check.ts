/** `flowops policy check`: whether a policy file loads, or every problem in it with its line. */
import { EXIT } from '@flowops/proto/cli.ts';
import { jsonLine } from '@flowops/proto/json-line.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import { formatProblem } from '../policy/document.ts';
import { loadPolicy } from '../policy/load.ts';
import { thisDocker } from './load-policy.ts';
import type { PolicyCheckReport } from './reports.ts';

export interface PolicyCheckOptions {
  readonly json?: true;
}

export async function policyCheck(file: string, options: PolicyCheckOptions): Promise<void> {
  const result = await loadPolicy(file, { docker: thisDocker });
  if (!result.ok) process.exitCode = EXIT.usage;
  if (options.json === true) {
    const report: PolicyCheckReport = {
      ok: result.ok,
      file,
      policyHash: result.ok ? result.policy.policyHash : null,
      problems: result.ok ? [] : result.problems,
      warnings: result.ok ? result.warnings : [],
    };
    process.stdout.write(`${jsonLine(report)}\n`);
    return;
  }
  if (result.ok) {
    for (const warning of result.warnings) {
      process.stderr.write(`${showControls(formatProblem({ ...warning, message: `warning: ${warning.message}` }))}\n`);
    }
    const { rules = [], tests = [] } = result.document;
    const counts = `${count(rules.length, 'rule')}, ${count(tests.length, 'test')} passed`;
    process.stdout.write(`${showControls(file)} is valid: ${counts}, ${result.policy.policyHash}\n`);
    return;
  }
  for (const problem of result.problems) process.stderr.write(`${showControls(formatProblem(problem))}\n`);
  process.stderr.write(`flowops: ${showControls(file)} does not load: ${count(result.problems.length, 'problem')}\n`);
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
