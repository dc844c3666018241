/**
 * Plugins that use up whatever they can (hostile cases 11 to 24, 59, 68), against a worker without a host that would
 * help: the step ends with the named code soon after its limit, and a neighbour's step works afterwards. Where only
 * the end of the process ends the code, the worker tells the result and is gone.
 */
import { afterAll, beforeEach, expect, test } from 'vitest';
import { bundleOf, type StepOptions, type StepResult, startWorker, type WorkerHost } from '../support/worker-host.ts';

/** Loaded machines are slow; a step that does not end at all would take the whole test time. */
const GRACE_MS = 5_000;
const neighbour = bundleOf("return { o: 'fine' };", { name: 'test.neighbour', outputs: { o: { type: 'string' } } });

let host: WorkerHost | undefined;
let w: WorkerHost;

async function worker(): Promise<WorkerHost> {
  if (host?.peer.isOpen === true) return host;
  await host?.ended;
  host = await startWorker();
  return host;
}

beforeEach(async () => {
  w = await worker();
});
afterAll(async () => host?.close());

async function attack(
  body: string,
  options: StepOptions = {},
  about: Parameters<typeof bundleOf>[1] = {},
): Promise<StepResult> {
  const done = await w.run(bundleOf(body, about), options);
  // A worker that could not prove the end of the step is about to go: its answer, or its end, tells which.
  await Promise.race([w.peer.closed, new Promise<void>((resolve) => w.peer.ping(resolve))]);
  expect(await (await worker()).run(neighbour)).toMatchObject({ status: 'COMPLETED', outputs: { o: 'fine' } });
  return done;
}

const wall = { limits: { wallMs: 300 } };

test.each([
  ['11: an endless loop', 'for (;;);'],
  ['12: a promise that never settles', 'await new Promise(() => {});'],
  ['13: an endless loop of await', 'for (;;) await null;'],
  ['13: an endless loop of host calls', "for (;;) await context.secret('A').catch(() => {});"],
  ['13: endless timers', 'for (;;) await new Promise((r) => setTimeout(r, 0));'],
  [
    '13: microtasks that make microtasks',
    'const again = () => queueMicrotask(again); again(); await new Promise(() => {});',
  ],
  ['17: a catastrophic regular expression', "/^(a+)+$/.test('a'.repeat(40) + '!');"],
  ['a loop in a timer', 'setTimeout(() => { for (;;); }, 1); await new Promise(() => {});'],
  ['a loop in a getter of an output', 'return { get o() { for (;;); } };'],
  ['a loop in the thenable it returns', 'return { then() { for (;;); } };'],
  ['a loop in the message of what it throws', 'throw { get message() { for (;;); } };'],
  [
    'a loop after a rejection that nobody handles',
    'Promise.reject({ get message() { for (;;); }, get stack() { for (;;); } }); await new Promise(() => {});',
  ],
])('%s is LIMIT_WALL', async (_, body) => {
  const done = await attack(
    body,
    { limits: { wallMs: 300, hostCalls: 1_000_000_000 } },
    { outputs: { o: { type: 'json' } } },
  );
  expect(done.code).toBe('LIMIT_WALL');
  expect(done.elapsedMs).toBeLessThan(300 + GRACE_MS);
});

test('68: a top level that never ends is LIMIT_WALL, when run and when inspected', async () => {
  for (const prologue of ['for (;;);', 'await new Promise(() => {});', 'for (;;) await null;']) {
    expect(await attack('return {};', wall, { prologue })).toMatchObject({ code: 'LIMIT_WALL' });
    expect(await attack('return {};', { ...wall, inspect: true }, { prologue })).toMatchObject({ code: 'LIMIT_WALL' });
  }
});

test.each([
  ['14: arrays', 'const a = []; for (;;) a.push([1, 2, 3, 4, 5, 6, 7, 8]);'],
  ['14: strings', "const a = []; for (;;) a.push('x'.repeat(1000) + a.length);"],
  ['14: a Map', 'const m = new Map(); for (let i = 0; ; i++) m.set(i, {});'],
  ['14: closures', 'const a = []; for (;;) { const big = new Array(100).fill(a.length); a.push(() => big); }'],
  ['14: fill, which does not stop when told', 'const a = []; for (;;) a.push(new Array(1000).fill(1));'],
  ['14: promises', 'const a = []; for (;;) { a.push(new Promise(() => {})); if (a.length % 1000 === 0) await null; }'],
])('%s beyond the heap limit is LIMIT_MEMORY', async (_, body) => {
  const done = await attack(body, { limits: { memoryMb: 32, wallMs: 30_000, cpuMs: 30_000 } });
  expect(done).toMatchObject({ code: 'LIMIT_MEMORY', message: expect.stringContaining('32 MB') });
});

test('15: typed arrays count towards the memory limit', async () => {
  const body = 'const a = []; for (;;) a.push(new Uint8Array(1_000_000).fill(1));';
  const done = await attack(body, { limits: { memoryMb: 32, wallMs: 20_000 } });
  // V8 refuses the array with a RangeError first, which is an error of the plugin.
  expect(['LIMIT_MEMORY', 'PLUGIN_ERROR']).toContain(done.code);
});

test.each([
  ['a BigInt of 100 million digits', "return { o: String(BigInt('1'.repeat(1e8)).toString().length) };"],
  ['padEnd and replace', "return { o: 'x'.repeat(2 ** 28).padEnd(2 ** 29 - 24, 'y').replaceAll('x', 'y').length };"],
  [
    'sort with a slow comparison',
    'const a = new Array(5e6).fill(0); a.sort(() => { let x = 0; for (let i = 0; i < 1e3; i++) x += i; return x; });',
  ],
])('16: %s ends by a limit', async (_, body) => {
  const done = await attack(body, { limits: { wallMs: 500, memoryMb: 32 } }, { outputs: { o: { type: 'json' } } });
  expect(['LIMIT_WALL', 'LIMIT_MEMORY', 'PLUGIN_ERROR']).toContain(done.code);
  expect(done.elapsedMs).toBeLessThan(500 + GRACE_MS);
});

test('16: an array beyond what V8 can hold ends the worker at most, which is for the host to tell', async () => {
  const body = "return { o: 'x'.repeat(2 ** 29 - 25).padEnd(2 ** 29 - 24, 'y').split('').length };";
  const done = await attack(body, { limits: { wallMs: 5_000, memoryMb: 32 } }, { outputs: { o: { type: 'json' } } });
  expect(['WORKER_ENDED', 'FAILED']).toContain(done.status);
});

test('19: deep recursion is an error of the plugin; deep JSON is refused', async () => {
  expect(await attack('const f = () => f(); f();')).toMatchObject({ code: 'PLUGIN_ERROR' });
  const outputs = { o: { type: 'json' } } as const;
  const deep = 'let o = {}; for (let i = 0; i < 1e6; i++) o = { o }; return { o };';
  expect(await attack(deep, {}, { outputs })).toMatchObject({ code: 'OUTPUT_INVALID' });
  const recursing =
    'const f = () => { try { return f(); } catch { console.log("deep"); return f; } }; f(); return { o: 1 };';
  expect(await attack(recursing, {}, { outputs })).toMatchObject({ status: expect.stringMatching(/COMPLETED|FAILED/) });
});

test('20: a thousand host calls that are never answered end with the host-call or the wall limit', async () => {
  w.answerCall = () => undefined;
  const body = "await Promise.all(Array.from({ length: 1000 }, () => context.secret('A')));";
  expect(await attack(body, { limits: { wallMs: 300, hostCalls: 100 } })).toMatchObject({ code: 'LIMIT_HOST_CALLS' });
  w = await worker();
  w.answerCall = () => undefined;
  expect(await attack(body, { limits: { wallMs: 300, hostCalls: 1000 } })).toMatchObject({ code: 'LIMIT_WALL' });
});

test('21: a million lines are LIMIT_LOG, and no more than the cap came out', async () => {
  const done = await attack("for (let i = 0; i < 1e6; i++) console.log('line ' + i);", {
    limits: { logBytes: 10_000 },
  });
  expect(done).toMatchObject({ code: 'LIMIT_LOG' });
  expect(done.logs.reduce((sum, { message }) => sum + Buffer.byteLength(message), 0)).toBeLessThanOrEqual(10_000);
  expect(done.result?.droppedLogLines).toBeGreaterThanOrEqual(100_000);
});

test('21: lines over the cap are dropped and counted while the step goes on; a huge line is cut', async () => {
  const body = "console.log('x'.repeat(2 ** 28)); for (let i = 0; i < 50; i++) logger.info('y'.repeat(1000));";
  const done = await attack(body, { limits: { logBytes: 30_000 } });
  expect(done.status).toBe('COMPLETED');
  expect(done.logs[0]?.message.length).toBeLessThanOrEqual(16 * 1024);
  expect((done.result?.droppedLogLines ?? 0) + done.logs.length).toBe(51);
});

test('22: an output of 100 MB is LIMIT_OUTPUT', async () => {
  const outputs = { o: { type: 'json' } } as const;
  const big = "return { o: 'x'.repeat(1e8) };";
  expect(await attack(big, {}, { outputs })).toMatchObject({ code: 'LIMIT_OUTPUT' });
  const wide = "return { o: 'é'.repeat(600_000) };";
  expect(await attack(wide, {}, { outputs })).toMatchObject({ code: 'LIMIT_OUTPUT' });
});

test.each([
  ['a cycle', 'const o = {}; o.o = o; return { o };', 'cycle'],
  ['a BigInt', 'return { o: [1n] };', 'output "o"[0] is a BigInt'],
  ['a function', 'return { o: { f() {} } };', 'output "o".f is a function'],
  ['NaN', 'return { o: { n: NaN } };', 'output "o".n is NaN'],
  ['half a surrogate pair', "return { o: ['\\ud800'] };", 'half a surrogate pair'],
  ['a key named __proto__', 'return { o: JSON.parse(\'{"__proto__": 1}\') };', '__proto__'],
  ['nothing', 'return {};', 'output "o" was not set'],
])('22: %s as an output is OUTPUT_INVALID and the message says which output', async (_, body, message) => {
  const done = await attack(body, {}, { outputs: { o: { type: 'json' } } });
  expect(done).toMatchObject({ code: 'OUTPUT_INVALID', message: expect.stringContaining(message) });
});

test('23: a burner that yields often is LIMIT_CPU', async () => {
  const body =
    'for (;;) { const end = Date.now() + 5; while (Date.now() < end); await new Promise((r) => setTimeout(r, 0)); }';
  const done = await attack(body, { limits: { cpuMs: 200, wallMs: 30_000 } });
  expect(done).toMatchObject({ code: 'LIMIT_CPU' });
  expect(done.elapsedMs).toBeLessThan(20_000);
});

test('24: a step that ends while its host call is open ends, and the late answer harms nobody', async () => {
  const waiting: (() => void)[] = [];
  w.answerCall = ({ token, callId }, peer) => {
    waiting.push(() =>
      peer.send({ case: 'hostReply', value: { token, callId, ok: true, payloadJson: Buffer.from('1') } }),
    );
  };
  const done = await attack("context.secret('A'); await new Promise((r) => setTimeout(r, 5)); return {};");
  expect(done.status).toBe('COMPLETED');
  for (const answer of waiting) answer();
  expect(await attack('return {};')).toMatchObject({ status: 'COMPLETED' });
});

test('timers beyond the bound are refused to the plugin', async () => {
  const body =
    'let n = 0; try { for (;;) { setTimeout(() => {}, 60_000); n++; } } catch (e) { return { o: [n, e.name] }; }';
  expect(await attack(body, {}, { outputs: { o: { type: 'json' } } })).toMatchObject({
    outputs: { o: [1000, 'RangeError'] },
  });
});

test('a neighbour in the same worker finishes while loops, floods and host calls go on beside it', async () => {
  const bodies = [
    'for (;;);',
    'for (;;) await null;',
    "for (;;) console.log('x');",
    'for (;;) await context.secret("A").catch(() => {});',
  ];
  const steps = bodies.map((body) => w.run(bundleOf(body), { limits: { wallMs: 1_500, hostCalls: 1_000_000_000 } }));
  expect(await w.run(neighbour)).toMatchObject({ status: 'COMPLETED' });
  const codes = (await Promise.all(steps)).map(({ code }) => code);
  expect(codes).toEqual(['LIMIT_WALL', 'LIMIT_WALL', 'LIMIT_LOG', 'LIMIT_WALL']);
});
