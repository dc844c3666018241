/**
 * `npm run chaos`: the scenarios one after the other, what each saw, and every violation. Ends with 0 when there was none,
 * 1 when there was one, 2 on a wrong call, 3 when it could not run.
 *
 *   --scenario NAME   only this one; several times for several
 *   --seed N          of the first scenario; each next one gets the next number (default 1)
 *   --runs N          in each scenario (default 300)
 *   --in-flight N     at one moment (default 250)
 *   --rounds N        all of them again, with further seeds (default 1)
 *   --list            names them and ends
 *   --json            the reports as one JSON object on stdout; progress goes to stderr anyway
 */
import { parseArgs } from 'node:util';
import { messageOf } from '@flowops/proto/errors.ts';
import { runScenario } from './arena.ts';
import { openGround } from './ground.ts';
import { linesOf, tableOf } from './report.ts';
import type { Scenario, ScenarioReport } from './scenario.ts';
import { SCENARIOS } from './scenarios/all.ts';

const EXIT = { clean: 0, violated: 1, wrongUse: 2, couldNotRun: 3 } as const;
const DEFAULT_RUNS = 300;
const DEFAULT_IN_FLIGHT = 250;

/** Resolves when the text is out, also into a pipe. */
const print = (text: string) => new Promise<void>((resolve) => process.stdout.write(`${text}\n`, () => resolve()));
const say = (line: string) => void process.stderr.write(`${line}\n`);

interface Call {
  readonly scenarios: readonly Scenario[];
  readonly seed: number;
  readonly runs: number;
  readonly inFlight: number;
  readonly rounds: number;
  readonly isJson: boolean;
}

interface Reports {
  readonly reports: readonly ScenarioReport[];
  readonly couldNotRun: number;
}

// Whatever a scenario that failed has left open does not keep the verdict from being told.
process.exit(await main(process.argv.slice(2)));

async function main(args: readonly string[]): Promise<number> {
  let call: Call | undefined;
  try {
    call = readCall(args);
  } catch (thrown) {
    say(messageOf(thrown));
    return EXIT.wrongUse;
  }
  if (call === undefined) return EXIT.clean;
  try {
    const { reports, couldNotRun } = await runAll(call);
    await print(call.isJson ? JSON.stringify({ reports, couldNotRun }) : tableOf(reports));
    if (reports.some(({ violations }) => violations.length > 0)) return EXIT.violated;
    return couldNotRun > 0 ? EXIT.couldNotRun : EXIT.clean;
  } catch (thrown) {
    say(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
    return EXIT.couldNotRun;
  }
}

/** A scenario that could not be run is told, and those after it stand on new ground. */
async function runAll({ scenarios, seed, runs, inFlight, rounds }: Call): Promise<Reports> {
  const reports: ScenarioReport[] = [];
  let couldNotRun = 0;
  say(`chaos: ${scenarios.length} scenarios, ${rounds} rounds of ${runs} runs each, seeds from ${seed}`);
  let ground = await openGround();
  try {
    for (let count = 0; count < rounds * scenarios.length; count++) {
      const scenario = scenarios[count % scenarios.length];
      if (scenario === undefined) break;
      say(`\n── ${scenario.name}, seed ${seed + count}: ${scenario.about} ──`);
      try {
        const report = await runScenario(scenario, { ground, seed: seed + count, runs, inFlight, say });
        reports.push(report);
        for (const line of linesOf(report)) say(line);
      } catch (thrown) {
        couldNotRun++;
        say(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
        await ground.close();
        ground = await openGround();
      }
    }
    return { reports, couldNotRun };
  } finally {
    await ground.close();
  }
}

/** @returns undefined when there is nothing to run. @throws one sentence on a wrong call */
function readCall(args: readonly string[]): Call | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenario: { type: 'string', multiple: true },
      seed: { type: 'string', default: '1' },
      runs: { type: 'string', default: String(DEFAULT_RUNS) },
      'in-flight': { type: 'string', default: String(DEFAULT_IN_FLIGHT) },
      rounds: { type: 'string', default: '1' },
      list: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  if (values.list) {
    for (const { name, about } of SCENARIOS) say(`${name.padEnd(18)} ${about}`);
    return undefined;
  }
  return {
    scenarios: values.scenario?.map(scenarioNamed) ?? SCENARIOS,
    seed: wholeNumber('--seed', values.seed),
    runs: wholeNumber('--runs', values.runs),
    inFlight: wholeNumber('--in-flight', values['in-flight']),
    rounds: wholeNumber('--rounds', values.rounds),
    isJson: values.json,
  };
}

function scenarioNamed(name: string): Scenario {
  const found = SCENARIOS.find((scenario) => scenario.name === name);
  if (found !== undefined) return found;
  throw new Error(`--scenario ${name}: there are ${SCENARIOS.map((scenario) => scenario.name).join(', ')}`);
}

function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`${option} must be a whole number from 1, not ${text}`);
}
