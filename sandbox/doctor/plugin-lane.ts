/**
 * All cases of one place, one after the other in one real host. Each attempt has a neighbour beside it, the first of a
 * case one in the same tier; after each case the host must be as quiet and as empty as before.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, BenchHost } from './bench-contract.ts';
import { bundleOf } from './bundle.ts';
import type { HostileBundle } from './bundle-text.ts';
import { canariesIn } from './canaries.ts';
import type { Place, PluginAttempt, PluginCase } from './case.ts';
import type { DockerView } from './docker-view.ts';
import { LIGHT_NEIGHBOUR, NEIGHBOUR } from './neighbour.ts';
import type { OriginServers } from './origin-server.ts';
import { cpuMsOf, descendantsOf, descriptorsOf, processesWith } from './process-tree.ts';
import { makeSigner, type Signer, signed } from './signer.ts';
import { runStep, type StepRun } from './step.ts';
import { limitsOf, type PlannedPlugin, policyText } from './test-policy.ts';
import { problemsOf } from './verdict.ts';

/** Of the time that is looked at, all processes under the host together. */
const QUIET_SHARE = 0.5;
const QUIET_LOOK_MS = 150;
/** For workers and containers that are on their way out. */
const QUIET_WAIT_MS = 6_000;
/** For Docker to remove those that do not run any more: many at once, on a machine with other work. */
const REMOVAL_WAIT_MS = 30_000;
/** Descriptors of a host may move a little: a worker has two, a connection to Docker some. */
const DESCRIPTOR_SLACK = 24;
const DESCRIPTORS_OF_A_CHILD = 3;

export interface CaseResult {
  readonly id: string;
  readonly title: string;
  readonly place: Place;
  /** Empty = passed. */
  readonly problems: readonly string[];
}

export interface LaneOptions {
  readonly bench: Bench;
  readonly place: Place;
  readonly cases: readonly PluginCase[];
  readonly docker: DockerView | undefined;
  readonly origins: OriginServers;
  readonly signal: AbortSignal;
  readonly onResult: (result: CaseResult) => void;
}

/** Where attempts run, and what is beside them. */
interface Surrounding {
  readonly host: BenchHost;
  readonly options: LaneOptions;
  readonly publisher: Signer;
  readonly light: HostileBundle;
}

interface Planned {
  readonly case: PluginCase;
  readonly plugins: readonly PlannedPlugin[];
}

export async function runLane(options: LaneOptions): Promise<void> {
  const { bench, place, cases, signal, onResult } = options;
  const planned = cases.map((hostile): Planned => ({ case: hostile, plugins: pluginsOf(hostile, options) }));
  const publisher = makeSigner();
  const light = bundleOf(LIGHT_NEIGHBOUR.name, LIGHT_NEIGHBOUR.attempt);
  const all = [...planned.flatMap(({ plugins }) => plugins), LIGHT_NEIGHBOUR, NEIGHBOUR];
  const policy = policyText(all, place, publisher.key);
  let host = await bench.openHost({ policy });
  let last: CaseResult | undefined;
  const tell = (result: CaseResult): void => {
    if (last !== undefined) onResult(last);
    last = result;
  };
  for (const { case: hostile, plugins } of planned) {
    if (signal.aborted) break;
    const problems = await runCase({ host, options, publisher, light }, plugins);
    tell({ id: hostile.id, title: hostile.title, place, problems });
    if (!isConnected(host)) host = await bench.openHost({ policy });
  }
  // What shows only at the end is told with the last case.
  const left = await host.close();
  if (last !== undefined) onResult({ ...last, problems: [...last.problems, ...left] });
}

/** Each copy of an attempt is a plugin of its own. */
function pluginsOf({ id, attempts }: PluginCase, { place, origins }: LaneOptions): PlannedPlugin[] {
  if (place.tier === 'host') return [];
  const { origin, forbidden } = origins;
  const list = typeof attempts === 'function' ? attempts({ runtime: place.runtime, origin, forbidden }) : attempts;
  return list.flatMap((attempt, index) =>
    Array.from({ length: attempt.copies ?? 1 }, (_, copy) => ({
      name: `doctor.c${id}-${index + 1}${copy === 0 ? '' : `.${copy + 1}`}`,
      attempt,
    })),
  );
}

async function runCase(around: Surrounding, plugins: readonly PlannedPlugin[]): Promise<string[]> {
  const { host, options, publisher, light } = around;
  const { bench, docker, place } = options;
  const descriptorsBefore = descriptorsOf(host.process.pid);
  const childrenBefore = descendantsOf(host.process.pid).length;
  const logBefore = host.log().length;
  const visitsBefore = options.origins.visits();
  const problems: string[] = [];
  let neighbour = bench.neighbour;
  for (const group of groupsOf(plugins)) {
    if (options.signal.aborted) return [...problems, 'given up'];
    const { attempt } = group[0] ?? NEIGHBOUR;
    const steps = group.map(({ name }) => {
      const bundle = bundleOf(name, attempt);
      return attempt.freshness === undefined ? { bundle } : { bundle, signature: signed(bundle, publisher) };
    });
    for (let time = 0; time < (attempt.times ?? 1); time++) {
      for (const problem of await runOnce({ host, steps, attempt, neighbour, bench, place })) {
        problems.push(`${attempt.what}: ${problem}`);
      }
      neighbour = light;
    }
  }
  problems.push(...(await leftBehind(host, docker)));
  const markers = plugins.flatMap(({ attempt }) => attempt.marker ?? []);
  if (markers.some((marker) => processesWith(marker).length > 0)) problems.push('a process of it is left');
  const children = descendantsOf(host.process.pid).length;
  const allowed = Math.max(0, children - childrenBefore) * DESCRIPTORS_OF_A_CHILD + DESCRIPTOR_SLACK;
  const descriptors = descriptorsOf(host.process.pid);
  if (descriptors > descriptorsBefore + allowed) {
    problems.push(`the host has ${descriptors} descriptors, ${descriptorsBefore} before`);
  }
  if (options.origins.visits() > visitsBefore) problems.push('a place that nobody may reach was reached');
  const leaks = canariesIn(host.log().slice(logBefore), bench.canaries);
  if (leaks.length > 0) problems.push(`a secret is in the host's log: ${leaks.join(', ')}`);
  return problems;
}

function groupsOf(plugins: readonly PlannedPlugin[]): PlannedPlugin[][] {
  const groups = new Map<PluginAttempt, PlannedPlugin[]>();
  for (const plugin of plugins) groups.set(plugin.attempt, [...(groups.get(plugin.attempt) ?? []), plugin]);
  return [...groups.values()];
}

interface Once {
  readonly host: BenchHost;
  readonly steps: readonly { readonly bundle: HostileBundle; readonly signature?: string }[];
  readonly attempt: PluginAttempt;
  readonly neighbour: HostileBundle;
  readonly bench: Bench;
  readonly place: Place;
}

async function runOnce({ host, steps, attempt, bench, place, ...beside }: Once): Promise<string[]> {
  const { inputs, purpose, stopAfterMs, expect } = attempt;
  const limits = limitsOf(attempt, place);
  const neighbour = Promise.withResolvers<StepRun>();
  let isNeighbourOut = false;
  const invite = (): void => {
    if (isNeighbourOut) return;
    isNeighbourOut = true;
    void runStep(host.process, beside.neighbour).then(neighbour.resolve);
  };
  const runs = await Promise.all(
    steps.map(({ bundle, signature }) =>
      runStep(host.process, bundle, {
        onStarted: invite,
        ...(signature === undefined ? {} : { signature }),
        ...(inputs === undefined ? {} : { inputs }),
        ...(purpose === undefined ? {} : { purpose }),
        ...(stopAfterMs === undefined ? {} : { stopAfterMs }),
      }),
    ),
  );
  invite();
  const seen = { neighbour: await neighbour.promise, limits, stopAfterMs, isCrowd: steps.length > 1 };
  const problems = runs.flatMap((run) => problemsOf({ ...seen, run }, expect, bench.canaries));
  const told = runs.map(({ receipt }) => receipt?.freshness ?? attempt.freshness);
  if (attempt.freshness !== undefined && told.some((one) => one !== attempt.freshness)) problems.push('had an isolate');
  return [...new Set(problems)];
}

/** Nothing of a case may go on: no process that works, no container. */
async function leftBehind(host: BenchHost, docker: DockerView | undefined): Promise<readonly string[]> {
  const begun = performance.now();
  for (;;) {
    const pids = descendantsOf(host.process.pid);
    const before = cpuMsOf(pids);
    const since = performance.now();
    await sleep(QUIET_LOOK_MS);
    const share = (cpuMsOf(pids) - before) / (performance.now() - since);
    const containers = (await docker?.containersOf(host.process.instance)) ?? [];
    if (share <= QUIET_SHARE && containers.length === 0) return [];
    const waitedMs = performance.now() - begun;
    if (waitedMs < QUIET_WAIT_MS) continue;
    const running = (await docker?.runningOf(host.process.instance)) ?? [];
    const left: string[] = [];
    if (share > QUIET_SHARE) left.push('something under the host still works after the end of its step');
    if (running.length > 0) left.push(`${running.length} containers run on after the end of their steps`);
    else if (containers.length > 0 && waitedMs > REMOVAL_WAIT_MS) {
      left.push(`${containers.length} containers are left after the end of their steps`);
    }
    if (left.length > 0) return left;
  }
}

function isConnected(host: BenchHost): boolean {
  try {
    process.kill(host.process.pid, 0);
    return true;
  } catch {
    return false;
  }
}
