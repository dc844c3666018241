/** Of the cases 11 to 23, and 63, those that a container can have too: the same plugins, ended by the limits of the container. */
import { ends, type PluginAttempt, type PluginCase } from '../case.ts';

const runtimes = ['runc', 'runsc'] as const;
const o = { o: 'json' } as const;
const wall = { limits: { wallMs: 1_500 } };

function once(id: string, title: string, attempts: readonly PluginAttempt[]): PluginCase {
  return { kind: 'plugin', id, title, runtimes, attempts };
}

export const CONTAINER_EXHAUSTION_CASES: readonly PluginCase[] = [
  once('11', 'an endless loop ends with LIMIT_WALL', [ends('for (;;)', 'LIMIT_WALL', 'for (;;);', wall)]),
  once('12', 'a promise that never settles ends with LIMIT_WALL', [
    ends('await forever', 'LIMIT_WALL', 'await new Promise(() => {});', wall),
  ]),
  once('13', 'an endless await loop ends by a limit', [
    ends('await null', 'LIMIT_WALL', 'for (;;) await null;', wall),
    ends('host calls', 'LIMIT_HOST_CALLS', "for (;;) await context.secret('A').catch(() => {});", {
      limits: { wallMs: 20_000 },
    }),
  ]),
  once('14', 'heap growth ends with LIMIT_MEMORY', [
    ends('arrays', 'LIMIT_MEMORY', 'const a = []; for (;;) a.push([1, 2, 3, 4, 5, 6, 7, 8]);', {
      limits: { wallMs: 30_000, cpuMs: 30_000 },
    }),
  ]),
  once('17', 'a catastrophic regular expression ends with LIMIT_WALL', [
    ends('(a+)+', 'LIMIT_WALL', "/^(a+)+$/.test('a'.repeat(40) + '!');", wall),
  ]),
  once('20', 'a thousand host calls at once end by a limit', [
    ends(
      'all at once',
      'LIMIT_HOST_CALLS',
      "await Promise.all(Array.from({ length: 1000 }, () => context.secret('A').catch(() => {}))); await new Promise(() => {});",
      { limits: { wallMs: 5_000, hostCalls: 100 } },
    ),
  ]),
  once('21', 'a flood of log lines ends with LIMIT_LOG', [
    ends('a million lines', 'LIMIT_LOG', "for (let i = 0; i < 1e6; i++) console.log('line ' + i);", {
      limits: { logBytes: 10_000, wallMs: 30_000, cpuMs: 30_000 },
    }),
  ]),
  once('22', 'outputs that are too large or no JSON are refused', [
    ends('3 MB', 'LIMIT_OUTPUT', "return { o: 'x'.repeat(3e6) };", { outputs: o }),
    ends('a cycle', 'OUTPUT_INVALID', 'const x = {}; x.x = x; return { o: x };', { outputs: o }),
    ends('a __proto__ key', 'OUTPUT_INVALID', 'return { o: JSON.parse(\'{"__proto__": 1}\') };', { outputs: o }),
  ]),
  once('23', 'a burner that yields often ends with LIMIT_CPU', [
    ends(
      '5 ms of work, then a timer',
      'LIMIT_CPU',
      'for (;;) { const end = Date.now() + 5; while (Date.now() < end); await new Promise((r) => setTimeout(r, 0)); }',
      { limits: { cpuMs: 1_000, wallMs: 60_000 } },
    ),
  ]),
  {
    kind: 'plugin',
    id: '63',
    title: 'a crowd of burners of one author leaves a neighbour its wall limit',
    runtimes,
    // Unsigned, each is a domain of its own. Fewer than in isolates: a container takes up to a second of a core to start.
    attempts: ({ runtime }) => [
      ends('plugins that burn', 'LIMIT_WALL', 'for (;;);', {
        copies: runtime === 'runsc' ? 8 : 24,
        limits: { wallMs: 500 },
      }),
    ],
  },
];
