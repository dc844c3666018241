/** Cases 11 to 24, 56, 59 and 63: plugins that use up whatever they can, in an isolate. */
import { ends, type PluginCase, SHORT_WALL } from '../case.ts';

const runtimes = ['isolated-vm'] as const;
const o = { o: 'json' } as const;
const wall = { limits: SHORT_WALL };
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
      ends(
        'host calls',
        ['LIMIT_HOST_CALLS', 'LIMIT_WALL'],
        "for (;;) await context.secret('A').catch(() => {});",
        wall,
      ),
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
    ],
  },
  {
    kind: 'plugin',
    id: '15',
    title: 'typed arrays beside the heap end by a limit',
    runtimes,
    attempts: [
      ends(
        'filled arrays',
        // V8 refuses an array with a RangeError first, which is an error of the plugin.
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
    attempts: [
      ends(
        'a BigInt of 100 million digits',
        ['LIMIT_WALL', 'LIMIT_MEMORY', 'LIMIT_CPU', 'PLUGIN_ERROR'],
        "return { o: String(BigInt('1'.repeat(1e8)).toString().length) };",
        { outputs: o, limits: { wallMs: 700, memoryMb: 32 } },
      ),
      ends(
        'padEnd and replaceAll',
        ['LIMIT_WALL', 'LIMIT_MEMORY', 'PLUGIN_ERROR', 'SANDBOX_CRASHED'],
        "return { o: 'x'.repeat(2 ** 28).padEnd(2 ** 29 - 24, 'y').replaceAll('x', 'y').length };",
        { outputs: o, limits: { wallMs: 700, memoryMb: 32 } },
      ),
      ends(
        'fill',
        ['LIMIT_WALL', 'LIMIT_MEMORY', 'PLUGIN_ERROR', 'SANDBOX_CRASHED'],
        'const a = []; for (;;) a.push(new Array(2 ** 24).fill(1));',
        { limits: { wallMs: 2_000, memoryMb: 32 } },
      ),
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
        ['LIMIT_MEMORY', 'PLUGIN_ERROR', 'SANDBOX_CRASHED'],
        `const all = [];
         for (;;) { const m = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
           for (let i = 0; i < 60; i++) { m.grow(64); new Uint8Array(m.buffer).fill(1, m.buffer.byteLength - 4_000_000); } all.push(m); await null; }`,
        { grants: { wasm: true }, limits: { memoryMb: 64, wallMs: 20_000, cpuMs: 20_000 } },
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
        ['COMPLETED', 'PLUGIN_ERROR', 'LIMIT_WALL'],
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
      ends(
        'one line of a quarter of a gigabyte',
        // The text counts towards the memory of whoever makes it.
        ['COMPLETED', 'LIMIT_MEMORY'],
        "console.log('x'.repeat(2 ** 28)); for (let i = 0; i < 50; i++) logger.info('y'.repeat(1000)); return {};",
        { limits: { logBytes: 30_000, memoryMb: 128 } },
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
      ...[
        ['a cycle', 'const x = {}; x.x = x; return { o: x };'],
        ['a BigInt', 'return { o: [1n] };'],
        ['a function', 'return { o: { f() {} } };'],
        ['NaN', 'return { o: { n: NaN } };'],
        ['half a surrogate pair', "return { o: ['\\ud800'] };"],
        ['a __proto__ key', 'return { o: JSON.parse(\'{"__proto__": 1}\') };'],
        ['nothing', 'return {};'],
      ].map(([what = '', body = '']) => ends(what, 'OUTPUT_INVALID', body, { outputs: o })),
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
        ['LIMIT_MEMORY', 'PLUGIN_ERROR', 'SANDBOX_CRASHED'],
        `const all = []; for (;;) { const b = new ArrayBuffer(0, { maxByteLength: 2 ** 27 }); b.resize(2 ** 27); new Uint8Array(b).fill(1); all.push(b); await null; }`,
        { limits: { memoryMb: 64, wallMs: 20_000, cpuMs: 20_000 } },
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
    title: 'many burners of one author leave a neighbour its core',
    runtimes,
    attempts: [
      ends('12 plugins that burn', ['LIMIT_WALL', 'LIMIT_CPU'], 'for (;;);', {
        copies: 12,
        limits: { wallMs: 1_500, cpuMs: 1_500 },
      }),
    ],
  },
];
