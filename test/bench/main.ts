/**
 * `npm run bench [--json] [--quick]`: the figures of design 9 that this release reaches, side by side in one run. It
 * reports; it judges nothing. Times depend on the machine: compare the ratios.
 */
import { fork, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectRedisStore } from '@flowops/engine/store/redis-store.ts';
import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import { freshRedis, startRedis } from '../services/redis.ts';
import { codeCacheRow } from './code-cache.ts';
import { containerRows } from './container.ts';
import { BENCH_LOG, chain, EngineUnderTest, PLUGIN_ID, publishPlugin } from './engine-under-test.ts';
import { latencyRow, median, type Row, round, table } from './figures.ts';
import { kafkaRows } from './kafka-flows.ts';
import { commandCount } from './redis-counters.ts';

const CLONE = fileURLToPath(new URL('../..', import.meta.url));
const isJson = process.argv.includes('--json');
const isQuick = process.argv.includes('--quick');
const FLOWS = isQuick ? 40 : 200;
const rows: Row[] = [];
const home = mkdtempSync(join(tmpdir(), 'flowops-bench-'));
const say = (text: string) => process.stderr.write(`${text}\n`);
const keep = (row: Row) => {
  rows.push(row);
  say(`  ${row.what}: ${row.value}`);
};

try {
  say(`flowops bench: ${FLOWS} flows a figure, ${availableParallelism()} cores${isQuick ? ', quick' : ''}`);
  const registry = await publishPlugin(home, CLONE);
  const raw = await rawIsolates();
  await embedded(registry, raw.allCores);
  const redis = await startRedis();
  try {
    await onRedis(registry, redis.url, raw.allCores);
    for (const row of await kafkaRows({ clone: CLONE, registry, redisUrl: redis.url, flows: FLOWS, say })) keep(row);
  } finally {
    await redis.stop();
  }
  keep(await codeCacheRow(isQuick ? 5 : 15));
  for (const row of await containerRows({ say, count: isQuick ? 5 : 20 })) keep(row);
  keep(coldStart());
  process.stdout.write(isJson ? `${JSON.stringify({ rows })}\n` : table(rows));
} finally {
  rmSync(home, { recursive: true, force: true });
}

/** Fresh isolates per second: one process, and one per core at the same time. */
async function rawIsolates(): Promise<{ allCores: number }> {
  const [one] = await measureRaw(1);
  const all = await measureRaw(availableParallelism());
  const allCores = all.reduce((sum, rate) => sum + rate, 0);
  keep({
    what: 'raw fresh isolates, one process',
    value: `${round(one ?? 0)}/s (${round(1_000 / (one ?? 1))} ms each)`,
    figures: { perSecond: round(one ?? 0) },
  });
  keep({
    what: 'raw fresh isolates, a process per core',
    value: `${round(allCores)}/s`,
    figures: { perSecond: round(allCores) },
  });
  return { allCores };
}

function measureRaw(processes: number): Promise<number[]> {
  const entry = fileURLToPath(new URL('raw-isolate.ts', import.meta.url));
  const ms = isQuick ? 1_000 : 3_000;
  const one = () =>
    new Promise<number>((resolve, reject) => {
      const child = fork(entry, [String(ms)], { execArgv: ['--no-node-snapshot'] });
      child.once('message', (told: { count: number; ms: number }) => resolve((told.count * 1_000) / told.ms));
      child.once('error', reject);
      child.once('exit', (code) => code !== 0 && reject(new Error(`the raw bench ended with ${code}`)));
    });
  return Promise.all(Array.from({ length: processes }, one));
}

async function embedded(registry: string, rawPerSecond: number): Promise<void> {
  const store = openSqliteStore({ file: join(home, 'bench.db') });
  const engine = await EngineUnderTest.open({ home, registry, store });
  try {
    await engine.sequential(chain(3), 20);
    keep(
      latencyRow('3 steps, embedded (SQLite WAL FULL), one after the other', await engine.sequential(chain(3), FLOWS)),
    );
    await throughput(engine, 'embedded', rawPerSecond);
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
      latencyRow('3 steps, Redis (TCP, AOF everysec), 50 flows/s', await engine.openLoop(chain(3), FLOWS, 50), {
        target: '≤ 4 ms, aim 2.7',
      }),
    );
    keep(
      latencyRow('3 steps, Redis, one after the other', await engine.sequential(chain(3), FLOWS), {
        target: '≤ 6 ms, aim 4',
      }),
    );
    await throughput(engine, 'Redis', rawPerSecond);
    await longChain(engine, own.url);
  } finally {
    await engine.close();
    await own.release();
  }
}

async function throughput(engine: EngineUnderTest, where: string, rawPerSecond: number): Promise<void> {
  const cpuBefore = process.cpuUsage();
  const startedMs = performance.now();
  const flows = await engine.inFlight(chain(3), FLOWS * 3, 200);
  const cpu = process.cpuUsage(cpuBefore);
  const share = (cpu.user + cpu.system) / 1_000 / (performance.now() - startedMs);
  const ratio = (flows * 3) / rawPerSecond;
  keep({
    what: `200 flows in flight, ${where}`,
    value: `${round(flows * 3)} steps/s, ${round(ratio)}× raw isolates of all cores`,
    target: '≥ 0.5×, aim 0.75×',
    note: `engine process ${round(share)} cores`,
    figures: { stepsPerSecond: round(flows * 3), ratioToRaw: round(ratio), engineCores: round(share) },
  });
}

async function longChain(engine: EngineUnderTest, redisUrl: string): Promise<void> {
  const length = isQuick ? 200 : 1_000;
  const before = await commandCount(redisUrl);
  const ms = await engine.run(chain(length));
  const calls = (await commandCount(redisUrl)) - before;
  keep({
    what: `chain of ${length} steps, Redis`,
    value: `${round(ms)} ms`,
    target: '≤ 1500 ms for 1000, aim 1100',
    figures: { ms: round(ms), steps: length },
  });
  keep({
    what: 'Redis round trips per step in a chain',
    value: `${round(calls / length)}`,
    target: '≤ 2, aim 1',
    note: 'commands counted by the server, scripts as one',
    figures: { perStep: round(calls / length) },
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
