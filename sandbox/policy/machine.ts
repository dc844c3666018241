/**
 * What this machine can enforce, against what a policy asks of it: a number or a runtime that could not be enforced
 * keeps the file from loading (design 5.5). What is not known is not held against the policy: without Docker a policy
 * loads, its container steps fail one by one, and `machineWarnings` says so at load. Pure but for `thisMachine`.
 */
import { availableParallelism, totalmem } from 'node:os';
import { tierOf } from './compile.ts';
import { DEFAULT_CONTAINER } from './default-limits.ts';
import type { KeyPath } from './document.ts';
import type { RuleProblem } from './rules-check.ts';
import type { PolicyDocument, PolicyRule } from './schema.ts';

export interface Machine {
  /** What processes here can have at most: physical memory, or less where a cgroup says so. */
  readonly memoryMb: number;
  readonly cores: number;
  /** Undefined: not asked, nothing is refused for it. */
  readonly containers?: DockerFacts;
}

/** What leads out of the sandboxes of this machine, Docker or not; each a sentence that says what to do. */
interface HoleFacts {
  /** Of the kernel that isolates run on. */
  readonly isolateHoles: readonly string[];
  /** Short names of those that are told and held against nothing: what they need is nothing that guest code has. */
  readonly exceptedHoles: readonly string[];
}

/** What the Docker daemon of this host can do. */
export type DockerFacts =
  | ({
      readonly kind: 'available';
      /** Names that the daemon knows: "runc", "runsc". */
      readonly runtimes: readonly string[];
      /** Limits that its kernel or cgroups lack. */
      readonly lacks: readonly ('memory' | 'cpus' | 'pids')[];
      /** What is known to be wrong with a runtime of this machine; each a clause that says what to do. */
      readonly knownHoles: readonly { readonly runtime: string; readonly hole: string }[];
    } & HoleFacts)
  | ({ readonly kind: 'absent'; readonly problem: string } & HoleFacts);

export function thisMachine(containers?: DockerFacts): Machine {
  const constrained = process.constrainedMemory();
  const bytes = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return {
    memoryMb: Math.floor(bytes / 1024 / 1024),
    cores: availableParallelism(),
    ...(containers === undefined ? {} : { containers }),
  };
}

export function checkMachine(policy: PolicyDocument, machine: Machine): RuleProblem[] {
  return [
    ...overMemory(policy.defaults?.limits?.memoryMb, machine, ['defaults', 'limits', 'memoryMb']),
    ...(policy.rules ?? []).flatMap((rule, index) => [
      ...checkRule(rule, machine, ['rules', index]),
      ...checkContainerMemory(policy, rule, machine, ['rules', index, 'limits', 'memoryMb']),
    ]),
    ...checkStrictRuntimes(policy, machine),
  ];
}

function checkRule({ limits, container }: PolicyRule, machine: Machine, at: KeyPath): RuleProblem[] {
  const found = overMemory(limits?.memoryMb, machine, [...at, 'limits', 'memoryMb']);
  if (container === undefined) return found;
  const { runtime, pids, cpus, tmpfsMb } = container;
  found.push(...overMemory(tmpfsMb, machine, [...at, 'container', 'tmpfsMb']));
  if (cpus !== undefined && cpus > machine.cores) {
    const message = `this machine has ${count(machine.cores, 'core')} and cannot give ${cpus}; write ${machine.cores} or less`;
    found.push({ path: [...at, 'container', 'cpus'], message });
  }
  const facts = machine.containers;
  if (facts?.kind !== 'available') return found;
  if (runtime !== undefined && !facts.runtimes.includes(runtime)) {
    const known = facts.runtimes.length === 0 ? 'none' : facts.runtimes.join(', ');
    const message = `Docker on this machine has no runtime ${runtime} (it has ${known}); install it, or name another`;
    found.push({ path: [...at, 'container', 'runtime'], message });
  }
  const asked = [
    ['pids', pids],
    ['cpus', cpus],
  ] as const;
  for (const [key, value] of asked) {
    if (value === undefined || !facts.lacks.includes(key)) continue;
    const message = `the kernel of this machine has no ${key} controller for containers: the limit could not be enforced`;
    found.push({ path: [...at, 'container', key], message });
  }
  return found;
}

function checkContainerMemory(
  policy: PolicyDocument,
  rule: PolicyRule,
  { containers }: Machine,
  path: KeyPath,
): RuleProblem[] {
  const isAsked = rule.limits?.memoryMb !== undefined && tierOf(policy, rule) === 'container';
  if (!isAsked || containers?.kind !== 'available' || !containers.lacks.includes('memory')) return [];
  const message = 'the kernel of this machine has no memory controller for containers: the limit could not be enforced';
  return [{ path, message }];
}

function overMemory(memoryMb: number | undefined, machine: Machine, path: KeyPath): RuleProblem[] {
  if (memoryMb === undefined || memoryMb <= machine.memoryMb) return [];
  const message = `this machine has ${machine.memoryMb} MB and cannot enforce ${memoryMb}; write ${machine.memoryMb} or less`;
  return [{ path, message }];
}

/**
 * Every rule may come to run containers: a request may ask for them, and a demotion sends plugins there. Isolates stand
 * on the kernel alone, with Docker or without.
 */
function checkStrictRuntimes(policy: PolicyDocument, { containers }: Machine): RuleProblem[] {
  if (policy.strictRuntimes !== true || containers === undefined) return [];
  const used = runtimesOf(policy);
  const ofContainers = containers.kind === 'available' ? containers.knownHoles : [];
  const messages = [
    ...ofContainers
      .filter(({ runtime }) => used.has(runtime))
      .map(({ runtime, hole }) => `${runtime} of this machine has a known hole: ${hole}`),
    ...(givesIsolates(policy) ? containers.isolateHoles : []).map(
      (hole) => `the isolate tier of this machine stands on a known hole: ${hole}`,
    ),
  ];
  return messages.map((message) => ({ path: ['strictRuntimes'], message }));
}

function givesIsolates(policy: PolicyDocument): boolean {
  const giving = (policy.rules ?? []).filter(({ deny }) => deny === undefined);
  return tierOf(policy, undefined) === 'isolate' || giving.some((rule) => tierOf(policy, rule) === 'isolate');
}

function runtimesOf({ rules = [] }: PolicyDocument): ReadonlySet<string> {
  const giving = rules.filter(({ deny }) => deny === undefined);
  return new Set([
    DEFAULT_CONTAINER.runtime,
    ...giving.map(({ container }) => container?.runtime ?? DEFAULT_CONTAINER.runtime),
  ]);
}

/** For the log and for `policy check`: what loads and will not work here. */
export function machineWarnings(policy: PolicyDocument, { containers }: Machine): RuleProblem[] {
  if (containers?.kind !== 'absent') return [];
  const sends = (policy.rules ?? []).findIndex(
    (rule) => rule.deny === undefined && tierOf(policy, rule) === 'container',
  );
  if (sends < 0 && policy.defaults?.tier === 'isolate') return [];
  const path: KeyPath = sends < 0 ? ['defaults', 'tier'] : ['rules', sends, 'tier'];
  const message =
    `sends plugins to the container tier, which this host cannot offer (${containers.problem}): their steps fail with ` +
    'SANDBOX_UNAVAILABLE';
  return [{ path, message }];
}

/** Whether Docker has to be asked before such a policy can be said to load. */
export function asksForDocker(policy: PolicyDocument): boolean {
  const { strictRuntimes = false, rules = [] } = policy;
  const namesTerms = ({ container = {} }: PolicyRule) => Object.keys(container).length > 0;
  const limitsContainer = (rule: PolicyRule) =>
    rule.limits?.memoryMb !== undefined && tierOf(policy, rule) === 'container' && rule.deny === undefined;
  return strictRuntimes || rules.some((rule) => namesTerms(rule) || limitsContainer(rule));
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
