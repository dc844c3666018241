/** What a policy may ask of this machine, and what is said when Docker is not there or has known holes. */
import { DockerWatch } from '@flowops/sandbox/policy/docker-watch.ts';
import { asksForDocker, type DockerFacts, type Machine } from '@flowops/sandbox/policy/machine.ts';
import { describe, expect, test } from 'vitest';
import { loadedOf, MACHINE, problemsOfText, warningsOf } from './policy-text.ts';

const NO_HOLES = { isolateHoles: [], exceptedHoles: [] };
const DOCKER = { kind: 'available', runtimes: ['runc', 'runsc'], lacks: [], knownHoles: [], ...NO_HOLES } as const;
const ABSENT = { kind: 'absent', problem: 'nobody answers at /var/run/docker.sock', ...NO_HOLES } as const;
const KERNEL_HOLE = 'CVE-2026-43284 in the Linux kernel 6.6.15: install a newer one';
const HOLE = { runtime: 'runc', hole: 'CVE-2025-31133 in runc 1.1.5: install 1.2.8 or later' };

const withDocker = (containers: DockerFacts): Machine => ({ ...MACHINE, containers });
const rule = (container: string) =>
  `version: 1\nrules:\n  - match: { plugin: a, unsigned: true }\n    container: ${container}\n`;

describe('a policy that asks for more than this machine can enforce does not load', () => {
  test.each([
    [
      'more memory than there is for /tmp',
      '{ tmpfsMb: 5000 }',
      'tmpfsMb: this machine has 4096 MB and cannot enforce 5000; write 4096 or less',
    ],
    [
      'more cores than there are',
      '{ cpus: 4.5 }',
      'cpus: this machine has 4 cores and cannot give 4.5; write 4 or less',
    ],
    [
      'fewer pids than gVisor needs',
      '{ runtime: runsc, pids: 128 }',
      'pids: must be at least 256 with runsc: the threads of gVisor itself count',
    ],
  ])('%s', (_title, container, problem) => {
    expect(problemsOfText(rule(container))).toEqual([`sandbox-policy.yaml:4: rules[0].container.${problem}`]);
  });

  test('a runtime that Docker does not have', () => {
    const machine = withDocker({ ...DOCKER, runtimes: ['runc', 'crun'] });
    expect(problemsOfText(rule('{ runtime: runsc }'), machine)).toEqual([
      'sandbox-policy.yaml:4: rules[0].container.runtime: Docker on this machine has no runtime runsc (it has runc, crun); install it, or name another',
    ]);
    expect(problemsOfText(rule('{ runtime: runsc }'), withDocker(DOCKER))).toEqual([]);
  });

  test.each(['pids', 'cpus'] as const)('%s where the kernel has no such controller', (key) => {
    const machine = withDocker({ ...DOCKER, lacks: [key] });
    const [problem, ...others] = problemsOfText(rule(`{ ${key}: ${key === 'pids' ? 64 : 2} }`), machine);
    expect(others).toEqual([]);
    expect(problem).toContain(
      `sandbox-policy.yaml:4: rules[0].container.${key}: the kernel of this machine has no ${key} controller`,
    );
  });

  test('memory of a container where the kernel has no such controller; an isolate needs none', () => {
    const machine = withDocker({ ...DOCKER, lacks: ['memory'] });
    const limited = (tier: string) =>
      `version: 1\nrules:\n  - match: { plugin: a, unsigned: true }\n    tier: ${tier}\n    limits: { memoryMb: 64 }\n`;
    expect(problemsOfText(limited('container'), machine)).toEqual([
      'sandbox-policy.yaml:5: rules[0].limits.memoryMb: the kernel of this machine has no memory controller for containers: the limit could not be enforced',
    ]);
    expect(problemsOfText(limited('isolate'), machine)).toEqual([]);
  });

  test('strictRuntimes and a runtime with a known hole that some rule can come to use', () => {
    const machine = withDocker({ ...DOCKER, knownHoles: [HOLE] });
    const strict = `strictRuntimes: true\n${rule('{ runtime: runsc }')}`;
    expect(problemsOfText(strict, machine)).toEqual([
      'sandbox-policy.yaml:1: strictRuntimes: runc of this machine has a known hole: CVE-2025-31133 in runc 1.1.5: install 1.2.8 or later',
    ]);
    expect(problemsOfText(rule('{ runtime: runsc }'), machine)).toEqual([]);
    const onlyRunsc = withDocker({ ...DOCKER, knownHoles: [{ ...HOLE, runtime: 'runsc' }] });
    expect(problemsOfText('version: 1\nstrictRuntimes: true\n', onlyRunsc)).toEqual([]);
  });

  test.each([
    ['where Docker answers', DOCKER],
    ['where there is no Docker', ABSENT],
  ])('strictRuntimes, a kernel with a known hole and a rule that gives isolates, %s', (_title, docker) => {
    const machine = withDocker({ ...docker, isolateHoles: [KERNEL_HOLE], exceptedHoles: ['CVE-2021-41091 (Docker)'] });
    const problem = `sandbox-policy.yaml:2: strictRuntimes: the isolate tier of this machine stands on a known hole: ${KERNEL_HOLE}`;
    const policy = (rest: string) => `version: 1\nstrictRuntimes: true\n${rest}`;
    const rules = 'rules:\n  - match: { plugin: a, unsigned: true }\n    tier: isolate\n';
    expect(problemsOfText(policy(rules), machine)).toEqual([problem]);
    expect(problemsOfText(policy('defaults: { tier: isolate }\n'), machine)).toEqual([problem]);
    expect(problemsOfText(policy(''), machine)).toEqual([]);
    expect(problemsOfText(policy('rules:\n  - match: { plugin: a }\n    deny: gone\n'), machine)).toEqual([]);
    expect(problemsOfText(`version: 1\n${rules}`, machine)).toEqual([]);
  });
});

describe('where no Docker answers', () => {
  test('every policy loads, and it is said which rule cannot be served', () => {
    const machine = withDocker(ABSENT);
    expect(warningsOf('version: 1\n', machine)).toEqual([
      'sandbox-policy.yaml:1: defaults.tier: sends plugins to the container tier, which this host cannot offer (nobody answers at /var/run/docker.sock): their steps fail with SANDBOX_UNAVAILABLE',
    ]);
    expect(warningsOf(rule('{ runtime: runsc, pids: 512 }'), machine)[0]).toMatch(
      /^sandbox-policy.yaml:3: rules\[0\].tier: sends/,
    );
    expect(warningsOf('version: 1\ndefaults: { tier: isolate }\n', machine)).toEqual([]);
    expect(warningsOf('version: 1\nstrictRuntimes: true\n', machine)).toHaveLength(1);
  });
});

test.each([
  ['version: 1\n', false],
  ['version: 1\nrules:\n  - match: { plugin: a }\n    tier: container\n', false],
  ['version: 1\nrules:\n  - match: { plugin: a }\n    container: {}\n', false],
  ['version: 1\nrules:\n  - match: { plugin: a }\n    container: { tmpfsMb: 8 }\n', true],
  ['version: 1\nrules:\n  - match: { plugin: a }\n    limits: { memoryMb: 64 }\n', true],
  ['version: 1\nstrictRuntimes: true\n', true],
])('Docker is asked before a policy loads only when the policy depends on it: %j', (source, asks) => {
  expect(asksForDocker(loadedOf(source).document)).toBe(asks);
});

describe('a host that watches Docker', () => {
  function watch(...answers: DockerFacts[]) {
    const lines: string[] = [];
    let looks = 0;
    let nowMs = 0;
    const note = (message: string) => lines.push(message);
    const docker = new DockerWatch({
      look: async () => answers[Math.min(looks++, answers.length - 1)] ?? ABSENT,
      log: { info: note, warn: note, error: note },
      now: () => nowMs,
    });
    return { docker, lines, looks: () => looks, pass: (ms: number) => (nowMs += ms) };
  }

  test('starts no container of a runtime with a known hole, and says which', async () => {
    const { docker } = watch({ ...DOCKER, knownHoles: [HOLE] });
    await docker.look();
    expect(docker.problemOf('runc')).toEqual({
      code: 'POLICY_DENIED',
      message: 'runc of this machine has a known hole: CVE-2025-31133 in runc 1.1.5: install 1.2.8 or later',
    });
    expect(docker.problemOf('runsc')).toBeUndefined();
  });

  test('starts none before it knows, and looks again when a step needs it', async () => {
    const { docker, looks, pass } = watch(ABSENT, DOCKER);
    expect(docker.problemOf('runc')).toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
    await docker.look();
    expect(docker.problemOf('runc')).toMatchObject({ message: expect.stringContaining('nobody answers') });
    expect(looks()).toBe(1);
    pass(5000);
    expect(docker.problemOf('runc')).toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
    await docker.look();
    expect(looks()).toBe(2);
    expect(docker.problemOf('runc')).toBeUndefined();
  });

  test('names in its log what is missing or has a hole, each once', async () => {
    const holes = watch({ ...DOCKER, knownHoles: [HOLE, { ...HOLE, runtime: 'runsc' }] });
    await holes.docker.report();
    expect(holes.lines).toEqual([`known hole: ${HOLE.hole}`]);
    const absent = watch(ABSENT);
    await absent.docker.report();
    expect(absent.lines).toEqual([expect.stringMatching(/cannot offer the container tier \(nobody answers/)]);
  });

  test('names the holes of its kernel without Docker too, and those out of reach in one line', async () => {
    const { docker, lines } = watch({
      ...ABSENT,
      isolateHoles: [KERNEL_HOLE],
      exceptedHoles: ['CVE-2025-55130 (Node.js 24.12.0)', 'CVE-2021-41091 (Docker 20.10.5)'],
    });
    await docker.report();
    expect(lines.slice(1)).toEqual([
      `known hole: ${KERNEL_HOLE}`,
      'also published, but out of reach of guest code here: CVE-2025-55130 (Node.js 24.12.0), CVE-2021-41091 (Docker 20.10.5); `flowops sandbox doctor` says why',
    ]);
    const both = watch({
      ...DOCKER,
      knownHoles: [{ runtime: 'runc', hole: KERNEL_HOLE }],
      isolateHoles: [KERNEL_HOLE],
    });
    await both.docker.report();
    expect(both.lines).toEqual([`known hole: ${KERNEL_HOLE}`]);
  });
});
