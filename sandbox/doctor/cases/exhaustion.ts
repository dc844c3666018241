/**
 * Cases 11 to 24, 56, 59 and 63: plugins that use up whatever they can, in an isolate. Where more than one code may come,
 * the case says why: two limits are near each other, or V8 may refuse before a limit is met.
 */
import { ends, type PluginAttempt, type PluginCase, SHORT_WALL } from '../case.ts';

const runtimes = ['isolated-vm'] as const;
const o = { o: 'json' } as const;
const wall = { limits: SHORT_WALL };
/** What is kept of a line that is too long. */
const HEAD_OF_LINE = `${'x'.repeat(16 * 1024 - 10)} … (cut)`;
/** Small, so that it is full soon; the other limits must not be first. */
const memory = { limits: { memoryMb: 32, wallMs: 30_000, cpuMs: 30_000 } };

export const EXHAUSTION_CASES: readonly PluginCase[] = [
  {
    kind: 'plugin',
    id: '11',
    title: 'an endless loop ends with LIMIT_WALL',
    runtimes,
    attempts: [
      ends('for (;;)', 'LIMIT_WALL', 'for (;;);', wall),
      ends('in a timer', 'LIMIT_WALL', 'setTimeout(() => { for (;;); }, 1); await new Promise(() => {});', wall),
      ends('in a getter of an output', 'LIMIT_WALL', 'return { get o() { for (;;); } };', { ...wall, outputs: o }),
      ends('in the thenable it returns', 'LIMIT_WALL', 'return { then() { for (;;); } };', { ...wall, outputs: o }),
      ends('in the message it throws', 'LIMIT_WALL', 'throw { get message() { for (;;); } };', wall),
      ends(
        'after a rejection that nobody handles',
        'LIMIT_WALL',
        'Promise.reject({ get message() { for (;;); }, get stack() { for (;;); } }); await new Promise(() => {});',
        wall,
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '12',
    title: 'a promise that never settles ends with LIMIT_WALL',
    runtimes,
    attempts: [ends('await forever', 'LIMIT_WALL', 'await new Promise(() => {});', wall)],
  },
  {
    kind: 'plugin',
    id: '13',
    title: 'an endless await loop ends by a limit',
    runtimes,
    attempts: [
      ends('await null', 'LIMIT_WALL', 'for (;;) await null;', wall),
      ends('host calls', 'LIMIT_HOST_CALLS', "for (;;) await context.secret('A').catch(() => {});", {
        limits: { wallMs: 8_000 },
      }),
      ends('host calls that no limit ends', 'LIMIT_WALL', "for (;;) await context.secret('A').catch(() => {});", {
        limits: { ...SHORT_WALL, hostCalls: 1_000_000 },
      }),
      ends('timers', 'LIMIT_WALL', 'for (;;) await new Promise((r) => setTimeout(r, 0));', wall),
      ends(
        'microtasks that make microtasks',
        'LIMIT_WALL',
        'const again = () => queueMicrotask(again); again(); await new Promise(() => {});',
        wall,
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '14',
    title: 'heap growth ends with LIMIT_MEMORY',
    runtimes,
    attempts: [
      ends('arrays', 'LIMIT_MEMORY', 'const a = []; for (;;) a.push([1, 2, 3, 4, 5, 6, 7, 8]);', memory),
      ends('strings', 'LIMIT_MEMORY', "const a = []; for (;;) a.push('x'.repeat(1000) + a.length);", memory),
      ends('a Map', 'LIMIT_MEMORY', 'const m = new Map(); for (let i = 0; ; i++) m.set(i, {});', memory),
      ends(
        'closures',
        'LIMIT_MEMORY',
        'const a = []; for (;;) { const big = new Array(100).fill(a.length); a.push(() => big); }',
        memory,
      ),
      ends(
        'fill, which does not stop when told',
        'LIMIT_MEMORY',
        'const a = []; for (;;) a.push(new Array(1000).fill(1));',
        memory,
      ),
      ends(
        'promises',
        'LIMIT_MEMORY',
        'const a = []; for (;;) { a.push(new Promise(() => {})); if (a.length % 1000 === 0) await null; }',
        memory,
      ),
    ].map((attempt) => ({ ...attempt, expect: { ...attempt.expect, says: '32' } })),
  },
  {
    kind: 'plugin',
    id: '15',
    title: 'typed arrays beside the heap end by a limit',
    runtimes,
    // They count towards the limit: V8 refuses the next with a RangeError, which is the plugin's, or is out of memory.
    attempts: [
      ends(
        'filled arrays',
        ['LIMIT_MEMORY', 'PLUGIN_ERROR'],
        'const a = []; for (;;) a.push(new Uint8Array(1_000_000).fill(1));',
        memory,
      ),
      ends(
        'array buffers',
        ['LIMIT_MEMORY', 'PLUGIN_ERROR'],
        'const a = []; for (;;) { const b = new ArrayBuffer(4_000_000); new Uint8Array(b).fill(1); a.push(b); }',
        memory,
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '16',
    title: 'builtins that work long or ask for gigabytes end by a limit',
    runtimes,
    // None of them looks at a limit while it works: wall time and memory are both used up within moments.
    attempts: [
      ends(
        'a BigInt of 100 million digits',
        ['LIMIT_WALL', 'LIMIT_MEMORY'],
        "return { o: String(BigInt('1'.repeat(1e8)).toString().length) };",
        { outputs: o, limits: { wallMs: 700, memoryMb: 32 } },
      ),
      ends(
        'padEnd and replaceAll',
        ['LIMIT_WALL', 'LIMIT_MEMORY'],
        "return { o: 'x'.repeat(2 ** 28).padEnd(2 ** 29 - 24, 'y').replaceAll('x', 'y').length };",
        { outputs: o, limits: { wallMs: 700, memoryMb: 32 } },
      ),
      ends('fill', ['LIMIT_WALL', 'LIMIT_MEMORY'], 'const a = []; for (;;) a.push(new Array(2 ** 24).fill(1));', {
        limits: { wallMs: 2_000, memoryMb: 32 },
      }),
      ends(
        'sort with a slow comparison',
        ['LIMIT_WALL', 'LIMIT_MEMORY'],
        'const a = new Array(5e6).fill(0); a.sort(() => { let x = 0; for (let i = 0; i < 1e3; i++) x += i; return x; });',
        { limits: { wallMs: 700, memoryMb: 32 } },
      ),
      {
        ...ends(
          'more elements than V8 can hold, at which it gives up its whole process',
          ['LIMIT_MEMORY'],
          "return { o: 'x'.repeat(2 ** 29 - 25).padEnd(2 ** 29 - 24, 'y').split('').length };",
          { outputs: o, limits: { wallMs: 5_000, memoryMb: 32 } },
        ),
        mayEndWorker: true,
      },
    ],
  },
  {
    kind: 'plugin',
    id: '17',
    title: 'a catastrophic regular expression ends with LIMIT_WALL',
    runtimes,
    attempts: [ends('(a+)+', 'LIMIT_WALL', "/^(a+)+$/.test('a'.repeat(40) + '!');", wall)],
  },
  {
    kind: 'plugin',
    id: '18',
    title: 'WebAssembly is absent, and where it is granted its memory is bounded',
    runtimes,
    attempts: [
      {
        what: 'without a grant',
        body: 'return { o: typeof WebAssembly };',
        outputs: o,
        expect: { endings: ['COMPLETED'], outputs: { o: 'undefined' } },
      },
      ends(
        'memory.grow past the limit',
        'LIMIT_MEMORY',
        `const all = [];
         for (;;) { const m = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
           for (let i = 0; i < 60; i++) { m.grow(64); new Uint8Array(m.buffer).fill(1, m.buffer.byteLength - 4_000_000); } all.push(m); await null; }`,
        { grants: { wasm: true }, limits: { memoryMb: 64, wallMs: 20_000, cpuMs: 20_000 }, needsHost: true },
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '19',
    title: 'deep recursion and deep JSON are errors of the plugin',
    runtimes,
    attempts: [
      ends('recursion', 'PLUGIN_ERROR', 'const f = () => f(); f();'),
      ends('deep outputs', 'OUTPUT_INVALID', 'let o = {}; for (let i = 0; i < 1e6; i++) o = { o }; return { o };', {
        outputs: o,
      }),
      ends(
        'recursion that catches itself',
        'COMPLETED',
        'const f = () => { try { return f(); } catch { console.log("deep"); return f; } }; f(); return { o: 1 };',
        { outputs: o, limits: { wallMs: 2_000 } },
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '20',
    title: 'a thousand host calls at once end by a limit',
    runtimes,
    attempts: [
      ends(
        'all at once',
        'LIMIT_HOST_CALLS',
        "await Promise.all(Array.from({ length: 1000 }, () => context.secret('A').catch(() => {}))); await new Promise(() => {});",
        { limits: { wallMs: 2_000, hostCalls: 100 } },
      ),
      {
        what: 'timers, which are bounded too',
        body: 'let n = 0; try { for (;;) { setTimeout(() => {}, 60_000); n++; } } catch (e) { return { o: [n, e.name] }; }',
        outputs: o,
        expect: { endings: ['COMPLETED'], outputs: { o: [1000, 'RangeError'] } },
      },
    ],
  },
  {
    kind: 'plugin',
    id: '21',
    title: 'a flood of log lines ends with LIMIT_LOG, one huge line is cut',
    runtimes,
    attempts: [
      ends('a million lines', 'LIMIT_LOG', "for (let i = 0; i < 1e6; i++) console.log('line ' + i);", {
        limits: { logBytes: 10_000, wallMs: 20_000 },
      }),
      {
        what: 'one line of 32 MB, then lines up to the cap',
        body: "console.log('x'.repeat(2 ** 25)); for (let i = 0; i < 50; i++) logger.info('y'.repeat(1000)); return {};",
        limits: { logBytes: 30_000, memoryMb: 128 },
        expect: { endings: ['COMPLETED'], lines: [HEAD_OF_LINE, ...Array<string>(13).fill('y'.repeat(1000))] },
      },
      // V8 joins the text before its head is taken, and frees it at once: the watch over the memory may see it or not.
      ends(
        'one line of half a gigabyte',
        ['COMPLETED', 'LIMIT_MEMORY'],
        "console.log('x'.repeat(2 ** 29 - 24)); return {};",
        {
          limits: { logBytes: 30_000, memoryMb: 128 },
        },
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '22',
    title: 'outputs that are too large or no JSON are refused',
    runtimes,
    attempts: [
      ends('100 MB', 'LIMIT_OUTPUT', "return { o: 'x'.repeat(1e8) };", { outputs: o }),
      ends('1.2 MB in 600,000 characters', 'LIMIT_OUTPUT', "return { o: 'é'.repeat(600_000) };", { outputs: o }),
      ...[
        ['a cycle', 'const x = {}; x.x = x; return { o: x };', 'cycle'],
        ['a BigInt', 'return { o: [1n] };', 'output "o"[0] is a BigInt'],
        ['a function', 'return { o: { f() {} } };', 'output "o".f is a function'],
        ['NaN', 'return { o: { n: NaN } };', 'output "o".n is NaN'],
        ['half a surrogate pair', "return { o: ['\\ud800'] };", 'half a surrogate pair'],
        ['a __proto__ key', 'return { o: JSON.parse(\'{"__proto__": 1}\') };', '__proto__'],
        ['nothing', 'return {};', 'output "o" was not set'],
      ].map(([what = '', body = '', says = '']): PluginAttempt => {
        return { what, body, outputs: o, expect: { endings: ['OUTPUT_INVALID'], says } };
      }),
    ],
  },
  {
    kind: 'plugin',
    id: '23',
    title: 'a burner that yields often ends with LIMIT_CPU',
    runtimes,
    attempts: [
      ends(
        '5 ms of work, then a timer',
        'LIMIT_CPU',
        'for (;;) { const end = Date.now() + 5; while (Date.now() < end); await new Promise((r) => setTimeout(r, 0)); }',
        { limits: { cpuMs: 200, wallMs: 30_000 } },
      ),
    ],
  },
  {
    kind: 'plugin',
    id: '24',
    title: 'a step that ends during its host call ends, and the late answer harms nobody',
    runtimes,
    attempts: [
      ends('unload during a call', 'COMPLETED', "context.secret('A').catch(() => {}); return {};", { times: 3 }),
    ],
  },
  {
    kind: 'plugin',
    id: '56',
    title: 'STOP ends a step inside a builtin that cannot be interrupted',
    runtimes,
    attempts: [
      ['a BigInt', "BigInt('1'.repeat(1e8)).toString();"],
      ['fill', 'for (;;) new Array(2 ** 24).fill(1);'],
      ['sort', 'for (;;) new Array(5e6).fill(0).map((_, i) => -i).sort();'],
    ].map(([what = '', body = '']) =>
      ends(what, ['CANCELLED'], body, {
        stopAfterMs: 300,
        limits: { wallMs: 30_000, cpuMs: 60_000, memoryMb: 512 },
      }),
    ),
  },
  {
    kind: 'plugin',
    id: '59',
    title: 'resizable and growable buffers end by a limit',
    runtimes,
    attempts: [
      ends(
        'resizable buffers',
        'LIMIT_MEMORY',
        `const all = []; for (;;) { const b = new ArrayBuffer(0, { maxByteLength: 2 ** 27 }); b.resize(2 ** 27); new Uint8Array(b).fill(1); all.push(b); await null; }`,
        { limits: { memoryMb: 64, wallMs: 20_000, cpuMs: 20_000 }, needsHost: true },
      ),
      {
        what: 'growable shared buffers are absent',
        body: 'return { o: typeof SharedArrayBuffer };',
        outputs: o,
        expect: { endings: ['COMPLETED'], outputs: { o: 'undefined' } },
      },
    ],
  },
  {
    kind: 'plugin',
    id: '63',
    title: 'a hundred burners of one author leave a neighbour its wall limit',
    runtimes,
    // Unsigned, each is a domain of its own.
    attempts: [ends('100 plugins that burn', 'LIMIT_WALL', 'for (;;);', { copies: 100, limits: { wallMs: 100 } })],
  },
];
