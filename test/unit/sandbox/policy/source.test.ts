/** Where the policy in force comes from, and how a changed file takes its place. */
import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Policy, PolicySource } from '@flowops/sandbox/policy/decision.ts';
import type { DockerFacts } from '@flowops/sandbox/policy/machine.ts';
import { type OpenPolicyOptions, openPolicy } from '@flowops/sandbox/policy/source.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { request } from './policy-text.ts';

const ISOLATE = 'version: 1\nrules:\n  - match: { unsigned: true }\n    tier: isolate\n';
const CONTAINER = 'version: 1\n';

let folder: string;
let sources: PolicySource[];
let lines: { level: 'info' | 'warn' | 'error'; message: string }[];
let awaited: { matches: (line: string) => boolean; found: (line: string) => void } | undefined;
const log = {
  info: (message: string) => note('info', message),
  warn: (message: string) => note('warn', message),
  error: (message: string) => note('error', message),
};

function note(level: 'info' | 'warn' | 'error', message: string): void {
  lines.push({ level, message });
  if (awaited?.matches(message)) awaited.found(message);
}

function logged(pattern: RegExp): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  awaited = { matches: (line) => pattern.test(line), found: resolve };
  return promise;
}

async function open(options: Pick<OpenPolicyOptions, 'file' | 'developer' | 'docker'>): Promise<PolicySource> {
  const source = await openPolicy({ ...options, log, pollMs: 5 });
  sources.push(source);
  return source;
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'policy-'));
  sources = [];
  lines = [];
  awaited = undefined;
});
afterEach(async () => {
  for (const source of sources) await source.close();
  await rm(folder, { recursive: true });
});

test('without a file every plugin goes to the container tier and is granted nothing', async () => {
  const policy = (await open({})).current();
  expect(policy.decide(request())).toMatchObject({
    kind: 'run',
    tier: 'container',
    jail: 'required',
    rule: 'defaults',
  });
  expect(policy.decide(request({ permissions: { net: ['a.example:443'], secrets: [] } }))).toMatchObject({
    code: 'POLICY_DENIED',
  });
});

test('the developer policy runs everything in the isolate tier, also what asks for permissions', async () => {
  const policy = (await open({ developer: true })).current();
  expect(policy.decide(request({ permissions: { net: ['a.example:443'], secrets: ['T'] } }))).toMatchObject({
    kind: 'run',
    tier: 'isolate',
    jail: 'none',
    grants: { wasm: false },
    rule: 'developer policy',
  });
});

test('a file and the developer policy exclude each other', async () => {
  await expect(open({ developer: true, file: 'x' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});

test('a file that does not load ends the start with every problem', async () => {
  const file = join(folder, 'policy.yaml');
  await expect(open({ file })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: `the sandbox policy is not valid:\n  ${file}: there is no such file`,
  });
  await writeFile(file, 'version: 2\nrulez: []\n');
  await expect(open({ file })).rejects.toMatchObject({
    message: `the sandbox policy is not valid:\n  ${file}:1: version: must be 1\n  ${file}:2: rulez: unknown key; did you mean rules?`,
  });
  await writeFile(file, Buffer.from([0xff, 0xfe, 0x00]));
  await expect(open({ file })).rejects.toMatchObject({ message: expect.stringContaining('is not UTF-8 text') });
  await expect(open({ file: folder })).rejects.toMatchObject({ message: expect.stringContaining('is a folder') });
});

test('a changed file takes over, and who listens is told', async () => {
  const file = join(folder, 'policy.yaml');
  await writeFile(file, CONTAINER);
  const source = await open({ file });
  const former = source.current();
  expect(former.decide(request())).toMatchObject({ tier: 'container' });
  const { promise, resolve } = Promise.withResolvers<string>();
  source.onChange((policy) => resolve(policy.policyHash));
  await writeFile(file, ISOLATE);
  expect(await promise).toBe(source.current().policyHash);
  expect(source.current().decide(request())).toMatchObject({
    tier: 'isolate',
    rule: 'rule 1 (policy.yaml:3)',
  });
  expect(former.decide(request())).toMatchObject({ tier: 'container' });
});

test('a changed file that does not load leaves the former policy in force and says so, until it is mended', async () => {
  const file = join(folder, 'policy.yaml');
  await writeFile(file, ISOLATE);
  const source = await open({ file });
  const broken = logged(/not reloaded/);
  await writeFile(file, `${ISOLATE}\nrulez: []\n`);
  expect(await broken).toBe(
    `the sandbox policy was not reloaded, and the former one stays in force: ${file}:6: rulez: unknown key; did you mean rules?`,
  );
  expect(source.current().decide(request())).toMatchObject({ tier: 'isolate' });

  const gone = logged(/there is no such file/);
  await rm(file);
  await gone;
  expect(source.current().decide(request())).toMatchObject({ tier: 'isolate' });

  const several = logged(/rulez/);
  await writeFile(file, `${ISOLATE}\nteir: 1\nrulez: []\n`);
  await several;
  expect(lines.slice(-2).map(({ message }) => message)).toEqual([
    expect.stringMatching(/ stays in force: .*policy\.yaml:6: teir: unknown key/),
    expect.stringMatching(/ stays in force: .*policy\.yaml:7: rulez: unknown key/),
  ]);

  const mended = logged(/was reloaded/);
  await writeFile(file, CONTAINER);
  await mended;
  expect(source.current().decide(request())).toMatchObject({ tier: 'container' });
  expect(lines.map(({ level }) => level)).toEqual(['error', 'error', 'error', 'error', 'info']);
});

test('a file is held against the Docker of the moment, at start and at each reload', async () => {
  const file = join(folder, 'policy.yaml');
  const runsc = 'version: 1\nrules:\n  - match: { plugin: a }\n    container: { runtime: runsc }\n';
  const NO_HOLES = { knownHoles: [], isolateHoles: [], exceptedHoles: [] };
  const facts = (...runtimes: string[]): DockerFacts => ({ kind: 'available', runtimes, lacks: [], ...NO_HOLES });
  let docker = facts('runc');
  await writeFile(file, runsc);
  await expect(open({ file, docker: async () => docker })).rejects.toMatchObject({
    message: expect.stringMatching(
      /policy.yaml:4: rules\[0\].container.runtime: Docker on this machine has no runtime runsc/,
    ),
  });
  docker = facts('runc', 'runsc');
  const source = await open({ file, docker: async () => docker });
  const reloaded = new Promise<Policy>((resolve) => source.onChange(resolve));
  docker = { kind: 'absent', problem: 'it is gone', isolateHoles: [], exceptedHoles: [] };
  const warned = logged(/the sandbox policy loads, but: /);
  await writeFile(file, `${runsc}  - match: { plugin: b }\n    deny: "no"\n`);
  expect(await warned).toContain('which this host cannot offer (it is gone)');
  const policy = await reloaded;
  expect(policy.decide(request({ name: 'b' }))).toMatchObject({ kind: 'refuse' });
});

test('a link that is swapped to another file takes over, as mounted configuration does', async () => {
  await writeFile(join(folder, 'one.yaml'), CONTAINER);
  await writeFile(join(folder, 'two.yaml'), ISOLATE);
  const file = join(folder, 'policy.yaml');
  await symlink(join(folder, 'one.yaml'), file);
  const source = await open({ file });
  const reloaded = logged(/was reloaded/);
  await symlink(join(folder, 'two.yaml'), `${file}.new`);
  await rename(`${file}.new`, file);
  await reloaded;
  expect(source.current().decide(request())).toMatchObject({ tier: 'isolate' });
});

test('closing twice is closing once', async () => {
  const file = join(folder, 'policy.yaml');
  await writeFile(file, CONTAINER);
  const source = await open({ file });
  await source.close();
  await source.close();
  expect(source.current().decide(request())).toMatchObject({ tier: 'container' });
});
