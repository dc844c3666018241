/**
 * `npm run bench -- [--json] [--quick] [--only GROUP,…]`: the figures of design 9 that this release reaches, side by side
 * in one run. It reports; it judges nothing. Times depend on the machine: compare the ratios.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectRedisStore } from '@flowops/engine/store/redis-store.ts';
import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import { freshRedis, startRedis } from '../services/redis.ts';
import { codeCacheRow } from './code-cache.ts';
import { containerRows } from './container.ts';
import { cpuShares } from './cpu-shares.ts';
import { BENCH_LOG, chain, EngineUnderTest, PLUGIN_ID, policyOfContexts, publishPlugins } from './engine-under-test.ts';
import { latencyRow, median, type Row, round, table } from './figures.ts';
import { isolateRows } from './isolate.ts';
import { type KafkaBench, latencyRows, startBroker } from './kafka-flows.ts';
import { publishFenceRow } from './publish-fence.ts';
import { measureRaw } from './raw-isolates.ts';
import { recoveryRow } from './recovery.ts';
import { callsDuring } from './redis-counters.ts';
import { runMemoryRow } from './run-memory.ts';
import { scaleOutRow } from './scale-out.ts';
import { withWorkers } from './worker-step.ts';

const CLONE = fileURLToPath(new URL('../..', import.meta.url));
const isJson = process.argv.includes('--json');
const isQuick = process.argv.includes('--quick');
const FLOWS = isQuick ? 40 : 200;
const RAW_MS = isQuick ? 1_000 : 3_000;
const EMBEDDED = 'in process; SQLite WAL FULL';
const REDIS = 'Redis by TCP; AOF everysec';
const rows: Row[] = [];
const home = mkdtempSync(join(tmpdir(), 'flowops-bench-'));
const say = (text: string) => process.stderr.write(`${text}\n`);
const keep = (row: Row) => {
  rows.push(row);
  say(`  ${row.what}: ${row.value}`);
};

/** What `--only` can name; in this order. */
const GROUPS: Readonly<Record<string, () => Promise<void>>> = {
  flows: async () => {
    const raw = await rawIsolates();
    await embedded(registry, raw.allCores);
    await keptIsolates(registry);
    await withRedis((url) => onRedis(registry, url, raw.allCores));
  },
  kafka: () =>
    withKafka(async (bench) => {
      for (const row of await latencyRows(bench)) keep(row);
      keep(await publishFenceRow(bench));
    }),
  recovery: () => withKafka(async (bench) => keep(await recoveryRow(bench))),
  scale: () => withKafka(async (bench) => keep(await scaleOutRow(bench))),
  memory: async () => {
    const runs = isQuick ? 300 : 1_500;
    keep(await runMemoryRow(runs));
    await withRedis(async (url) => keep(await runMemoryRow(runs, url)));
  },
  isolates: () =>
    withWorkers(async (source) => {
      for (const row of await isolateRows(source, isQuick ? 2 : 6)) keep(row);
      keep(await codeCacheRow(source, isQuick ? 5 : 15));
    }),
  containers: async () => {
    for (const row of await containerRows({ say, count: isQuick ? 5 : 20 })) keep(row);
  },
  cold: async () => keep(coldStart()),
};
const wanted = wantedGroups();
let registry = '';

try {
  say(`flowops bench: ${FLOWS} flows a figure, ${availableParallelism()} cores${isQuick ? ', quick' : ''}`);
  registry = await publishPlugins(home, CLONE);
  for (const [name, group] of Object.entries(GROUPS)) if (wanted.has(name)) await group();
  process.stdout.write(isJson ? `${JSON.stringify({ rows })}\n` : table(rows));
} finally {
  rmSync(home, { recursive: true, force: true });
}

function wantedGroups(): ReadonlySet<string> {
  const at = process.argv.indexOf('--only');
  const names = Object.keys(GROUPS);
  const given = at < 0 ? names : (process.argv[at + 1] ?? '').split(',');
  const unknown = given.find((name) => !names.includes(name));
  if (unknown === undefined) return new Set(given);
  say(`--only takes ${names.join(', ')}; not "${unknown}"`);
  process.exit(2);
}

async function withRedis(work: (url: string) => Promise<void>): Promise<void> {
  const redis = await startRedis();
  try {
    await work(redis.url);
  } finally {
    await redis.stop();
  }
}

function withKafka(work: (bench: KafkaBench) => Promise<void>): Promise<void> {
  return withRedis(async (redisUrl) => {
    const kafka = await startBroker();
    try {
      await work({ registry, redisUrl, kafka, isQuick, say });
    } finally {
      await kafka.stop();
    }
  });
}

/** Fresh isolates per second: one process, and one per core at the same time. */
async function rawIsolates(): Promise<{ allCores: number }> {
  const [one] = await measureRaw(1, RAW_MS);
  const perSecond = one === undefined ? Number.NaN : (one.count * 1_000) / one.ms;
  const allCores = await rawOfAllCores();
  keep({
    what: 'raw fresh isolates, one process',
    value: `${round(perSecond)}/s (${round(1_000 / perSecond)} ms each)`,
    note: `CPU ${one === undefined ? '' : round(one.cpuMs / one.count)} ms each`,
    figures: { perSecond: round(perSecond) },
  });
  keep({
    what: 'raw fresh isolates, a process per core',
    value: `${round(allCores)}/s`,
    figures: { perSecond: round(allCores) },
  });
  return { allCores };
}

async function rawOfAllCores(): Promise<number> {
  const all = await measureRaw(availableParallelism(), RAW_MS);
  return all.reduce((sum, { count, ms }) => sum + (count * 1_000) / ms, 0);
}

async function embedded(registry: string, rawPerSecond: number): Promise<void> {
  const store = openSqliteStore({ file: join(home, 'bench.db') });
  const engine = await EngineUnderTest.open({ home, registry, store });
  try {
    await engine.sequential(chain(3), 20);
    keep(
      latencyRow('3 steps, embedded, one after the other', await engine.sequential(chain(3), FLOWS), {
        note: EMBEDDED,
      }),
    );
    await throughput(engine, { what: '200 flows in flight, embedded', where: EMBEDDED, rawPerSecond });
  } finally {
    await engine.close();
  }
}

/** The same plugin, signed, under a rule that keeps its isolates. */
async function keptIsolates(registry: string): Promise<void> {
  const store = openSqliteStore({ file: join(home, 'contexts.db') });
  const policyFile = policyOfContexts(home, registry);
  const engine = await EngineUnderTest.open({ home, registry, store, policyFile });
  try {
    await engine.sequential(chain(3), 20);
    const rawPerSecond = await rawOfAllCores();
    const what = '200 flows in flight, embedded, `freshness: context`';
    await throughput(engine, { what, where: EMBEDDED, rawPerSecond });
  } finally {
    await engine.close();
  }
}

async function onRedis(registry: string, redisUrl: string, rawPerSecond: number): Promise<void> {
  const own = await freshRedis(redisUrl);
  const store = await connectRedisStore({ url: own.url, log: BENCH_LOG });
  const engine = await EngineUnderTest.open({ home, registry, store });
  try {
    await engine.sequential(chain(3), 20);
    keep(
      latencyRow('3 steps, Redis, 50 flows/s', await engine.openLoop(chain(3), FLOWS, 50), {
        target: '≤ 4 ms, aim 2.7',
        note: REDIS,
      }),
    );
    keep(
      latencyRow('3 steps, Redis, one after the other', await engine.sequential(chain(3), FLOWS), {
        target: '≤ 6 ms, aim 4',
        note: REDIS,
      }),
    );
    await throughput(engine, { what: '200 flows in flight, Redis', where: REDIS, rawPerSecond });
    await longChain(engine, own.url);
  } finally {
    await engine.close();
    await own.release();
  }
}

interface Throughput {
  readonly what: string;
  readonly where: string;
  readonly rawPerSecond: number;
}

async function throughput(engine: EngineUnderTest, { what, where, rawPerSecond }: Throughput): Promise<void> {
  const shares = cpuShares();
  const flows = await engine.inFlight(chain(3), FLOWS * 3, 200);
  const { engineCores, hostCores, workerCores } = shares();
  const ratio = round((flows * 3) / rawPerSecond);
  keep({
    what,
    value: `${round(flows)} flows/s, ${round(flows * 3)} steps/s, ${ratio}× raw isolates of all cores`,
    target: '≥ 0.5×, aim 0.75×',
    note: `cores: engine ${engineCores}, host ${hostCores}, workers ${workerCores}; ${where}`,
    figures: {
      flowsPerSecond: round(flows),
      stepsPerSecond: round(flows * 3),
      ratioToRaw: ratio,
      engineCores,
      hostCores,
      workerCores,
    },
  });
}

async function longChain(engine: EngineUnderTest, redisUrl: string): Promise<void> {
  const length = isQuick ? 200 : 1_000;
  const ms = await engine.run(chain(length));
  keep({
    what: `chain of ${length} steps, Redis`,
    value: `${round(ms)} ms`,
    target: '≤ 1500 ms for 1000, aim 1100',
    note: REDIS,
    figures: { ms: round(ms), steps: length },
  });
  const counted = 200;
  const calls = await callsDuring(redisUrl, () => engine.run(chain(counted)));
  const total = [...calls.values()].reduce((sum, count) => sum + count, 0);
  keep({
    what: 'Redis round trips per step in a chain',
    value: `${round(total / counted)}`,
    target: '≤ 2, aim 1',
    note: `as the server saw them, ${counted} steps: ${[...calls].map(([name, count]) => `${count} ${name}`).join(', ')}`,
    figures: { perStep: round(total / counted) },
  });
}

/** A whole process: `flowops run` of one step, from exec to exit. */
function coldStart(): Row {
  const flow = join(home, 'one.json');
  writeFileSync(
    flow,
    JSON.stringify({ flowId: 'cold', steps: [{ stepId: 's', pluginId: PLUGIN_ID, inputs: { text: 'x' } }] }),
  );
  const times: number[] = [];
  for (let index = 0; index < (isQuick ? 3 : 7); index++) {
    const startedMs = performance.now();
    const ran = spawnSync(
      process.execPath,
      [join(CLONE, 'bin', 'flowops.mjs'), 'run', flow, '--plugins', join(home, 'registry'), '--json'],
      { env: { ...process.env, FLOWOPS_HOME: home }, encoding: 'utf8' },
    );
    if (ran.status !== 0) throw new Error(`flowops run ended with ${ran.status}: ${ran.stderr}`);
    times.push(performance.now() - startedMs);
  }
  const figures = { medianMs: round(median(times)), bestMs: round(Math.min(...times)) };
  return {
    what: '`flowops run` of one step, cold start to exit',
    value: `${figures.medianMs} ms median, ${figures.bestMs} ms best`,
    target: '≤ 1000 ms, aim 500',
    figures,
  };
}
