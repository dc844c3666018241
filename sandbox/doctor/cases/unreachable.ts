/** Case 56, its part about those who do not answer: STOP while the sandbox host hangs, while it dies, while Docker is down. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, BenchHost } from '../bench-contract.ts';
import { bundleOf } from '../bundle.ts';
import { ends, type HostCase, type Place, type PluginAttempt } from '../case.ts';
import { openDockerDoor } from '../docker-door.ts';
import { descendantsOf, isAlive } from '../process-tree.ts';
import { runStep, type StepRun, startStep } from '../step.ts';
import { policyText } from '../test-policy.ts';

const ISOLATE: Place = { tier: 'isolate', runtime: 'isolated-vm' };
const WALL_MS = 15_000;
/** After its wall limit an end is told, whoever does not answer. */
const MARGIN_MS = 30_000;
/** As long as a host that hangs is looked at: nothing may be told in that time. */
const HANGING_MS = 1_000;
const GONE_MS = 5_000;
const DOCKER_LAG_MS = 2_000;

const BURNER = { name: 'doctor.burner', attempt: ends('burns', 'CANCELLED', 'for (;;);', limits()) };

function limits(): Partial<PluginAttempt> {
  return { limits: { wallMs: WALL_MS, cpuMs: 60_000 } };
}

async function start(host: BenchHost) {
  const step = startStep(host.process, bundleOf(BURNER.name, BURNER.attempt));
  await step.started;
  return step;
}

/** Undefined: nothing was told in time. */
function within(ended: Promise<StepRun>, ms: number): Promise<StepRun | undefined> {
  return Promise.race([ended, sleep(ms, undefined, { ref: false })]);
}

async function whileHostHangs(bench: Bench): Promise<string[]> {
  const host = await bench.openHost({ policy: policyText([BURNER], ISOLATE) });
  const step = await start(host);
  process.kill(host.process.pid, 'SIGSTOP');
  const problems: string[] = [];
  try {
    step.attempt.cancel({ graceMs: 0, reason: 'stopped' });
    const early = await within(step.ended, HANGING_MS);
    if (early !== undefined) problems.push(`told as ${early.ending} while its host hung`);
  } finally {
    process.kill(host.process.pid, 'SIGCONT');
  }
  const end = await within(step.ended, MARGIN_MS);
  if (end?.ending !== 'CANCELLED') problems.push(`when its host went on: ${end?.ending ?? 'no end'}`);
  return [...problems, ...(await host.close())];
}

async function whileHostDies(bench: Bench): Promise<string[]> {
  const host = await bench.openHost({ policy: policyText([BURNER], ISOLATE) });
  const step = await start(host);
  const pids = [host.process.pid, ...descendantsOf(host.process.pid)];
  process.kill(host.process.pid, 'SIGSTOP');
  step.attempt.cancel({ graceMs: 0, reason: 'stopped' });
  process.kill(host.process.pid, 'SIGKILL');
  const end = await within(step.ended, MARGIN_MS);
  const problems = end?.ending === 'LOST' ? [] : [`when its host died: ${end?.ending ?? 'no end'}`];
  const deadline = performance.now() + GONE_MS;
  while (pids.some(isAlive) && performance.now() < deadline) await sleep(25);
  if (pids.some(isAlive)) problems.push('its worker outlived its host');
  await host.close();
  return problems;
}

/** Docker learns of an end later than the kernel, from which the host has it. */
async function runsOn(bench: Bench, instance: string): Promise<boolean> {
  const deadline = performance.now() + DOCKER_LAG_MS;
  for (;;) {
    const running = (await bench.docker?.runningOf(instance)) ?? [];
    if (running.length === 0) return false;
    if (performance.now() > deadline) return true;
    await sleep(25);
  }
}

async function whileDockerIsDown(bench: Bench, place: Place): Promise<readonly string[]> {
  const door = await openDockerDoor(bench.hostEnv.DOCKER_HOST, bench.folder);
  const host = await bench.openHost({ policy: policyText([BURNER], place), dockerHost: door.host });
  const problems: string[] = [];
  try {
    const step = await start(host);
    door.shut();
    step.attempt.cancel({ graceMs: 0, reason: 'stopped' });
    const end = await within(step.ended, WALL_MS + MARGIN_MS);
    if (end?.ending !== 'CANCELLED') problems.push(`while Docker was down: ${end?.ending ?? 'no end'}`);
    if (await runsOn(bench, host.process.instance)) problems.push('told as stopped while its container ran');
    door.open();
    const next = await runStep(host.process, bundleOf(BURNER.name, { ...BURNER.attempt, body: 'return {};' }));
    if (next.ending !== 'COMPLETED')
      problems.push(`when Docker was back a step ended ${next.ending} (${next.message})`);
  } finally {
    door.open();
    problems.push(...(await host.close()));
    await door.close();
  }
  return problems;
}

export const UNREACHABLE_CASES: readonly HostCase[] = [
  {
    kind: 'host',
    id: '56',
    title: 'a STOP that a host cannot answer is told when it is proven, and not before',
    run: async (bench) => [...(await whileHostHangs(bench)), ...(await whileHostDies(bench))],
  },
  {
    kind: 'host',
    id: '56',
    title: 'a STOP while Docker is down is told when the container has ended',
    runtimes: ['runc', 'runsc'],
    run: whileDockerIsDown,
  },
];
