/**
 * What needs host and worker together (hostile cases 15, 18, 56, 59, 63): memory that an isolate's own limit does not
 * count, code that no isolate can be stopped in, a crowd of burners. Real plugins in real jailed workers.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AttemptOutcome, AttemptRequest } from '../../proto/attempt.ts';
import { digestOf } from '../../proto/ids.ts';
import { readBundleManifest } from '../../proto/manifest.ts';
import { cpuMsOf } from '../../sandbox/doctor/process-tree.ts';
import { openIsolateTier } from '../../sandbox/isolate/open-tier.ts';
import { workerFiles } from '../../sandbox/isolate/worker-files.ts';
import { DEFAULT_CONTAINER } from '../../sandbox/policy/default-limits.ts';
import {
  openScriptedHost,
  runStep,
  type ScriptedHost,
  startAttempt,
  stepOf,
} from '../fixtures/sandbox/scripted-host.ts';
import { bundleOf, LIMITS } from '../support/worker-host.ts';

const isLinux = process.platform === 'linux';
/** Loaded machines are slow; a step that does not end at all would take the whole test time. */
const GRACE_MS = 10_000;
const SLOW_MS = 180_000;
const POLICY = `version: 1
rules:
  - match: { plugin: "wasm.*", unsigned: true }
    tier: isolate
    limits: { memoryMb: 64, cpuMs: 30000, wallMs: 40000 }
    grants: { wasm: true }
  - match: { plugin: "*", unsigned: true }
    tier: isolate
    limits: { memoryMb: 64, cpuMs: 30000, wallMs: 40000 }
`;
const HOG = `const hog = {
  typed: () => { const a = []; for (;;) a.push(new Uint8Array(1_000_000).fill(1)); },
  resizable: () => { const a = []; for (;;) { const b = new ArrayBuffer(0, { maxByteLength: 2 ** 28 }); b.resize(2 ** 28); new Uint8Array(b).fill(1); a.push(b); } },
  wasm: () => { const a = []; for (;;) { const m = new WebAssembly.Memory({ initial: 1, maximum: 65536 }); a.push(m);
    for (;;) { try { m.grow(256); } catch { break; } new Uint8Array(m.buffer, m.buffer.byteLength - 2 ** 24).fill(1); } } },
  shared: () => { const a = []; const Shared = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true }).buffer.constructor;
    for (;;) { const b = new Shared(0, { maxByteLength: 2 ** 28 }); b.grow(2 ** 28); new Uint8Array(b).fill(1); a.push(b); } },
  rest: () => new Promise((resolve) => setTimeout(resolve, 1500)),
};
await hog[inputs.how](); return { o: 'done' };`;

/** As the host gives it to a tier. */
const REQUEST = {
  purpose: 'run',
  flowId: 'flow',
  runId: 'run',
  stepId: 'step',
  attempt: 1,
  pluginVersion: '1.0.0',
  idempotencyKey: 'k',
  inputsJson: Buffer.from('{}'),
  allowWasm: false,
  concurrent: 4,
  jail: 'required',
  freshness: 'isolate',
  container: DEFAULT_CONTAINER,
  rule: 'rule 1',
  policyHash: 'sha256:p',
} as const;

let scripted: ScriptedHost;
const folder = mkdtempSync(path.join(tmpdir(), 'isolate-host-'));

beforeAll(async () => {
  const policyFile = path.join(folder, 'sandbox-policy.yaml');
  writeFileSync(policyFile, POLICY);
  scripted = await openScriptedHost({ isReal: true, policyFile, maxWorkers: 6 });
});
afterAll(async () => {
  await scripted.close();
  rmSync(folder, { recursive: true });
});

function requestOf(name: string, body: string, inputs: Record<string, unknown> = {}, id = name): AttemptRequest {
  const declared = Object.fromEntries(
    Object.keys(inputs).map((key) => [key, { type: 'json' as const, required: true }]),
  );
  const bytes = Buffer.from(bundleOf(body, { name, inputs: declared, outputs: { o: { type: 'json' } } }));
  const digest = digestOf(bytes);
  return {
    ...stepOf('step', {}, id),
    token: randomBytes(16).toString('hex'),
    digest,
    inputsJson: JSON.stringify(inputs),
    bundle: async () => ({ ok: true, bundle: { digest, bytes } }),
  };
}

const run = (name: string, body: string, inputs?: Record<string, unknown>): Promise<AttemptOutcome> =>
  runStep(scripted.host, requestOf(name, body, inputs));

/** Jailed workers below this process, by their pid. */
function workers(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('/node\0') && isBelowUs(pid);
      } catch {
        return false; // gone, or no process
      }
    });
}

function isBelowUs(pid: number): boolean {
  for (let at = pid; at > 1; ) {
    if (at === process.pid) return true;
    at = Number(/^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${at}/status`, 'utf8'))?.[1] ?? 0);
  }
  return false;
}

describe.runIf(isLinux)('memory that the limit of an isolate does not count', () => {
  it.each([
    ['15: typed arrays', 'plain', 'typed', ['LIMIT_MEMORY', 'PLUGIN_ERROR']],
    ['59: resizable buffers', 'plain', 'resizable', ['LIMIT_MEMORY', 'PLUGIN_ERROR']],
    ['18: memory of WebAssembly', 'wasm.hog', 'wasm', ['LIMIT_MEMORY']],
    ['59: growable shared buffers, reached by way of WebAssembly', 'wasm.hog', 'shared', ['LIMIT_MEMORY']],
  ])(
    '%s: the step ends, and another one runs',
    async (_, name, how, codes) => {
      const outcome = await run(name, HOG, { how });
      if (outcome.status !== 'FAILED') throw new Error(JSON.stringify(outcome));
      expect(codes, outcome.message).toContain(outcome.code);
      expect(await run('neighbour', "return { o: 'fine' };")).toMatchObject({ status: 'COMPLETED' });
    },
    SLOW_MS,
  );

  it('18, 59: without the grant there is no way to WebAssembly or shared buffers', async () => {
    const body = 'return { o: [typeof WebAssembly, typeof SharedArrayBuffer, typeof Atomics] };';
    const outcome = await run('plain', body);
    expect(outcome).toMatchObject({ outputsJson: '{"o":["undefined","undefined","undefined"]}' });
  });

  it('is charged to the one that took it: a step beside it in the same worker is run again', {
    timeout: SLOW_MS,
  }, async () => {
    await run('wasm.hog', HOG, { how: 'rest' });
    const request = (how: string) => requestOf('wasm.hog', HOG, { how });
    const beside = Array.from({ length: 3 }, () => runStep(scripted.host, request('rest')));
    const hog = runStep(scripted.host, request('wasm'));
    expect(await hog).toMatchObject({ status: 'FAILED', code: 'LIMIT_MEMORY' });
    for (const outcome of await Promise.all(beside)) expect(outcome).toMatchObject({ status: 'COMPLETED' });
  });
});

describe.runIf(isLinux)('56: a step inside a builtin that cannot be interrupted', () => {
  it.each([
    ['BigInt', "BigInt('9'.repeat(5e7)); return { o: 1 };"],
    ['fill', 'const a = []; for (;;) a.push(new Array(2 ** 22).fill(a.length));'],
    ['sort', 'const a = Float64Array.from({ length: 2 ** 21 }, Math.random); for (;;) a.sort().reverse();'],
    ['a regular expression', "/^(a+)+$/.test('a'.repeat(60) + '!'); return { o: 1 };"],
  ])('%s is told as stopped when nothing of it runs any more', { timeout: SLOW_MS }, async (what, body) => {
    const name = `stuck-${what.replace(/\W/g, '').toLowerCase()}`;
    await run(name, 'return { o: 1 };');
    const { attempt, started } = startAttempt(scripted.host, requestOf(name, body));
    await started;
    // It is in the builtin by then, or on its way.
    await new Promise((resolve) => setTimeout(resolve, 100));
    const began = performance.now();
    attempt.cancel({ graceMs: 100, reason: 'enough' });
    const outcome = await attempt.outcome;
    // A step may also reach its memory limit first.
    if (outcome.status !== 'CANCELLED') expect(outcome).toMatchObject({ code: 'LIMIT_MEMORY' });
    expect(performance.now() - began).toBeLessThan(GRACE_MS);
    const cpuMs = () => workers().map((pid) => [pid, cpuMsOf([pid])] as const);
    const before = new Map(cpuMs());
    await new Promise((resolve) => setTimeout(resolve, 500));
    // A worker that makes its next isolate takes some; one in which the builtin goes on takes all it gets.
    for (const [pid, now] of cpuMs()) expect(now - (before.get(pid) ?? now)).toBeLessThan(150);
    expect(await run(name, 'return { o: 1 };')).toMatchObject({ status: 'COMPLETED' });
  });
});

describe.runIf(isLinux)('63: a hundred plugins of one author, each a burner', () => {
  it('leave a neighbour its wall limit, and get no more than their share', { timeout: SLOW_MS }, async () => {
    const tier = await openIsolateTier({
      files: await workerFiles(),
      maxWorkers: 4,
      cores: 2,
      instance: 'test',
      log: pino({ level: 'silent' }),
      withoutJail: false,
    });
    const events = {
      onStarted: () => {},
      onLog: () => {},
      onProgress: () => {},
      onHostCall: async () => ({ ok: false }),
    };
    const ends = (name: string, body: string, domain: string, wallMs: number) => {
      const bytes = Buffer.from(bundleOf(body, { name, outputs: { o: { type: 'json' } } }));
      const manifest = readBundleManifest(bytes);
      if (!manifest.ok) throw new Error(manifest.problem);
      const bundle = { digest: digestOf(bytes), bytes, manifest: manifest.manifest };
      return tier.run({ ...REQUEST, pluginId: name, bundle, domain, limits: { ...LIMITS, wallMs } }, events).ended;
    };
    const burners = Array.from({ length: 100 }, (_, i) => ends(`evil.n${i}`, 'for (;;);', 'publisher:evil', 200));
    const slow = 'await new Promise((r) => setTimeout(r, 20)); return { o: 1 };';
    for (let i = 0; i < 3; i++) {
      const { outcome } = await ends('good.plugin', slow, 'publisher:good', 30_000);
      expect(outcome, JSON.stringify(outcome)).toMatchObject({ status: 'COMPLETED' });
    }
    for (const { outcome } of await Promise.all(burners)) expect(outcome).toMatchObject({ code: 'LIMIT_WALL' });
    await tier.close();
  });
});
