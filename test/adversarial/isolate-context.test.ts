/**
 * `freshness: context` (hostile cases 10, 24, 58): a fresh context in an isolate that ran other steps of the same bundle.
 * What one step leaves behind does not reach the next; where code of it could still run, the isolate is not kept. The
 * isolates are real and in this process, so that a test sees whether one is kept.
 */
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildIsolatePrelude } from '../../sandbox/bundling/build-program.ts';
import { bundleScript } from '../../sandbox/isolate/worker/bundle-script.ts';
import { IsolateRun } from '../../sandbox/isolate/worker/isolate-run.ts';
import { type BundleCode, IsolateFactory, type IsolateHome } from '../../sandbox/isolate/worker/prepared-isolate.ts';
import { bundleOf, LIMITS, startWorker } from '../support/worker-host.ts';

const SHAPE = { memoryMb: 64, isWasmAllowed: false, isDebugged: false, isKept: true };
const SETTINGS = { purpose: 'run', idempotencyKey: 'k', attempt: 1, outputBytes: 100_000 } as const;
const found = { outputs: { found: { type: 'json' } } } as const;

let factory: IsolateFactory;
const homes = new Set<IsolateHome>();
beforeAll(async () => {
  const { core, url, hashes } = await buildIsolatePrelude();
  factory = await IsolateFactory.create(core.text, { url: url.text, hashes: hashes.text });
});
afterEach(() => {
  for (const home of homes) home.dispose();
  homes.clear();
});

function codeOf(body: string, about: Parameters<typeof bundleOf>[1] = found): BundleCode {
  const source = bundleOf(body, about);
  return { file: 'test.plugin.js', source, script: bundleScript(source), cache: undefined };
}

interface Ended {
  readonly status: string;
  readonly found: unknown;
  readonly logs: readonly string[];
  readonly calls: number;
  readonly kept: IsolateHome | undefined;
  readonly run: IsolateRun;
}

async function step(bundle: BundleCode, kept?: IsolateHome, wallMs = 5_000): Promise<Ended> {
  const prepared = await factory.prepare(bundle, SHAPE, kept);
  if (!prepared.ok) throw new Error(prepared.message);
  const logs: string[] = [];
  let calls = 0;
  const run = new IsolateRun(
    prepared.isolate,
    { settings: SETTINGS, inputsJson: '{}', limits: { ...LIMITS, wallMs } },
    {
      onStarted: () => {},
      onLog: (_, message) => logs.push(message),
      onProgress: () => {},
      onHostCall: () => calls++,
      checkManifest: () => '',
      inspectedJson: () => undefined,
      onCatastrophe: () => {},
    },
  );
  const { end } = await run.outcome;
  const home = run.takeKept();
  if (home !== undefined) homes.add(home);
  const outputs = end.status === 'COMPLETED' ? (JSON.parse(end.outputsJson) as { found: unknown }).found : undefined;
  return { status: end.status, found: outputs, logs, calls, kept: home, run };
}

describe('a kept isolate', () => {
  it('10: gives each step globals and prototypes of its own', async () => {
    const bundle = codeOf(
      `const found = [typeof globalThis.left, typeof Object.prototype.left, typeof Array.prototype.at.left, typeof record.left,
         typeof console.left, typeof Symbol.for('left').description, Symbol.for('left') in globalThis, RegExp.$1, Error.stackTraceLimit];
       for (const o of [globalThis, Object.prototype, Array.prototype.at, record, console]) o.left = 1;
       globalThis[Symbol.for('left')] = 1; /(left)/.test('left'); Error.stackTraceLimit = 77;
       JSON.stringify = () => '"forged"'; Promise.prototype.then = () => 'forged'; Map.prototype.get = () => 'forged';
       return { found };`,
    );
    const first = await step(bundle);
    expect(first.found).toEqual([
      'undefined',
      'undefined',
      'undefined',
      'undefined',
      'undefined',
      'string',
      false,
      '',
      10,
    ]);
    let { kept } = first;
    for (let i = 0; i < 5; i++) {
      expect(kept).toBeDefined();
      const next = await step(bundle, kept);
      expect(next.found).toEqual(first.found);
      ({ kept } = next);
    }
  });

  it('is not filled by the contexts of steps that have ended: a collection takes them', async () => {
    const bundle = codeOf('return { found: 1 };');
    let { kept } = await step(bundle);
    const first = kept;
    for (let i = 0; i < 300; i++) ({ kept } = await step(bundle, kept));
    // Filled with them it would be half-full, and given up, after about a hundred.
    expect(kept).toBe(first);
  });

  it('58: has neither FinalizationRegistry nor WeakRef, by no way that code can take', async () => {
    const done = await step(
      codeOf(
        `const names = ['FinalizationRegistry', 'WeakRef']; const found = [];
         for (const name of names) for (const get of [() => globalThis[name], () => (0, eval)('typeof ' + name) !== 'undefined',
           () => Function('return typeof ' + name)() !== 'undefined', () => Reflect.get(globalThis, name)]) if (get()) found.push(name);
         return { found };`,
      ),
    );
    expect(done.found).toEqual([]);
  });

  it.each([
    ['an endless await loop', '(async () => { for (;;) await null; })(); return { found: 1 };'],
    ['a host call that is open', "context.secret('A').catch(() => {}); return { found: 1 };"],
    [
      'a call after its report',
      "queueMicrotask(async () => { for (let i = 0; i < 50; i++) await null; console.log('late'); }); return { found: 1 };",
    ],
    [
      'a rejection that nobody handles, after its report',
      '(async () => { for (let i = 0; i < 50; i++) await null; throw 1; })(); return { found: 1 };',
    ],
    [
      'much memory',
      'globalThis.a = []; for (let i = 0; i < 400; i++) a.push(new Uint8Array(100_000)); return { found: 1 };',
    ],
  ])('58: is thrown away after a step that left %s', async (_, body) => {
    const done = await step(codeOf(body));
    expect(done).toMatchObject({ status: 'COMPLETED', found: 1, kept: undefined });
    expect(done.logs).toEqual([]);
  });

  it.each([
    ['that failed', "throw new Error('x');"],
    ['beyond its limit', 'for (;;);'],
    ['of which nothing is heard', 'await new Promise(() => {});'],
  ])('is thrown away after a step %s', async (_, body) => {
    expect((await step(codeOf(body), undefined, 300)).kept).toBeUndefined();
  });

  it('is thrown away after a step that was cancelled', async () => {
    const prepared = await factory.prepare(
      codeOf('context.signal.addEventListener("abort", () => {}); return {};'),
      SHAPE,
    );
    if (!prepared.ok) throw new Error(prepared.message);
    const events = {
      onStarted: () => {},
      onLog: () => {},
      onProgress: () => {},
      onHostCall: () => {},
      checkManifest: () => '',
      inspectedJson: () => undefined,
      onCatastrophe: () => {},
    };
    const run = new IsolateRun(prepared.isolate, { settings: SETTINGS, inputsJson: '{}', limits: LIMITS }, events);
    run.cancel(1_000, 'enough');
    expect((await run.outcome).end.status).toBe('CANCELLED');
    expect(run.takeKept()).toBeUndefined();
  });

  it('58: lets timers of a step not fire in the next', async () => {
    const first = await step(
      codeOf("for (let i = 0; i < 100; i++) setTimeout(() => console.log('late'), 50 + i); return { found: 1 };"),
    );
    expect(first.kept).toBeDefined();
    const next = await step(codeOf('await new Promise((r) => setTimeout(r, 200)); return { found: 2 };'), first.kept);
    expect(next).toMatchObject({ status: 'COMPLETED', logs: [] });
  });

  it('24: drops an answer to a host call that comes after the step', async () => {
    const bundle = codeOf('return { found: 1 };');
    const first = await step(bundle);
    const next = await step(bundle, first.kept);
    expect(first.run.reply(1, { ok: true, payloadJson: '1' })).toBe(false);
    expect(next).toMatchObject({ status: 'COMPLETED', found: 1 });
  });
});

describe('a worker that may keep isolates', () => {
  it('runs step after step in fresh contexts, and a plugin that goes on by itself harms only itself', async () => {
    const worker = await startWorker();
    const options = { freshContext: true };
    const source = bundleOf(
      "const found = typeof globalThis.left; globalThis.left = 1; setTimeout(() => console.log('late'), 1); return { found };",
      found,
    );
    for (let i = 0; i < 50; i++) {
      expect(await worker.run(source, options)).toMatchObject({ outputs: { found: 'undefined' }, logs: [] });
    }
    const sticky = bundleOf('(async () => { for (;;) await null; })(); return { found: 1 };', found);
    for (let i = 0; i < 3; i++) {
      expect(await worker.run(sticky, options)).toMatchObject({ status: 'COMPLETED', outputs: { found: 1 } });
    }
    await worker.close();
  });
});
