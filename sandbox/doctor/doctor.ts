/**
 * Runs the hostile cases against this machine: one lane for each place (isolate, each runtime of the container tier,
 * the host itself), as many lanes at a time as there are cores for. Results come as they are known.
 */
import { availableParallelism } from 'node:os';
import { messageOf } from '@flowops/proto/errors.ts';
import { openBench } from './bench.ts';
import type { Bench } from './bench-contract.ts';
import type { HostCase, HostileCase, Place, PluginCase } from './case.ts';
import type { DockerView } from './docker-view.ts';
import { openOriginServers } from './origin-server.ts';
import { type CaseResult, runLane } from './plugin-lane.ts';

/** Two lanes on two cores: more would only slow each other, and slow steps are what cases are judged by. */
const MAX_LANES = 4;

export interface DoctorOptions {
  readonly cases: readonly HostileCase[];
  readonly places: readonly Place[];
  readonly docker: DockerView | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  readonly onResult: (result: CaseResult) => void;
}

/** @returns in the order of cases and places. Rejects only when no host could be started at all. */
export async function runDoctor(options: DoctorOptions): Promise<readonly CaseResult[]> {
  const results: CaseResult[] = [];
  const onResult = (result: CaseResult): void => {
    results.push(result);
    options.onResult(result);
  };
  const lanes = options.places.toSorted(byDuration).flatMap((place) => {
    const cases = casesAt(options.cases, place);
    return cases.length === 0 ? [] : [() => runPlace(place, cases, { ...options, onResult })];
  });
  await runAll(lanes, Math.max(1, Math.min(MAX_LANES, availableParallelism())));
  return results.sort(byIdAndPlace);
}

export function casesAt(cases: readonly HostileCase[], { tier, runtime }: Place): readonly HostileCase[] {
  return cases.filter(({ runtimes }) =>
    runtimes === undefined ? tier === 'host' : runtimes.some((one) => one === runtime),
  );
}

async function runPlace(place: Place, cases: readonly HostileCase[], options: DoctorOptions): Promise<void> {
  const bench = await openBench({
    env: options.env,
    ...(options.docker === undefined ? {} : { docker: options.docker }),
  });
  const origins = await openOriginServers();
  let last: CaseResult | undefined;
  const onResult = (result: CaseResult): void => {
    if (last !== undefined) options.onResult(last);
    last = result;
  };
  try {
    const plugins = cases.filter((hostile): hostile is PluginCase => hostile.kind === 'plugin');
    if (plugins.length > 0) await runLane({ ...options, onResult, bench, place, cases: plugins, origins });
    for (const hostile of cases) {
      if (hostile.kind !== 'host' || options.signal.aborted) continue;
      const problems = await problemsOfHostCase(hostile, bench, place);
      onResult({ id: hostile.id, title: hostile.title, place, problems });
    }
  } finally {
    const left = await bench.close();
    await origins.close();
    // What shows only when all is over is told with the last case.
    if (last !== undefined) options.onResult({ ...last, problems: [...last.problems, ...left] });
  }
}

async function problemsOfHostCase(hostile: HostCase, bench: Bench, place: Place): Promise<readonly string[]> {
  try {
    return await hostile.run(bench, place);
  } catch (thrown) {
    return [`it could not be tried: ${messageOf(thrown)}`];
  }
}

async function runAll(lanes: readonly (() => Promise<void>)[], atOnce: number): Promise<void> {
  const waiting = [...lanes];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await next();
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

/** The longest first, so that the last one does not run alone. */
const LONGEST_FIRST: readonly Place['runtime'][] = ['runsc', 'node', 'isolated-vm', 'runc'];

function byDuration(a: Place, b: Place): number {
  return LONGEST_FIRST.indexOf(a.runtime) - LONGEST_FIRST.indexOf(b.runtime);
}

const ORDER: readonly Place['runtime'][] = ['isolated-vm', 'runc', 'runsc'];

function byIdAndPlace(a: CaseResult, b: CaseResult): number {
  const rank = ({ place }: CaseResult): number => ORDER.indexOf(place.runtime);
  return Number(a.id) - Number(b.id) || rank(a) - rank(b);
}
