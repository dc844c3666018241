/**
 * Started by fork with `--expose-gc`; arguments: `flight` or `rest`, how many runs, and a Redis URL or nothing for SQLite.
 * A whole engine but for the sandbox: attempts end or are held here. Sends {heapBytes, rssBytes} of one run to its parent.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEngine } from '@flowops/engine/app.ts';
import { LocalPublisher } from '@flowops/engine/publishing/local-publisher.ts';
import { connectRedisStore } from '@flowops/engine/store/redis-store.ts';
import { openSqliteStore } from '@flowops/engine/store/sqlite-store.ts';
import { readCommand } from '@flowops/proto/commands.ts';
import { manifestSchema } from '@flowops/proto/manifest.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import { BENCH_LOG, chain, PLUGIN_ID } from './engine-under-test.ts';
import { HoldingSandboxes } from './holding-sandboxes.ts';

const PARTITION = '0';
const STEPS = 10;
/** Of each run, before one is held. */
const DONE_STEPS = 5;
/** Once more before anything is counted: compiled code, statements and caches are made once. */
const WARM_RUNS = 200;
const LOOK_MS = 50;

const [kind, count, redisUrl = ''] = process.argv.slice(2);
const runs = Number(count);
const folder = mkdtempSync(join(tmpdir(), 'flowops-bench-memory-'));
const sandboxes = new HoldingSandboxes(`s${DONE_STEPS}`);
const store =
  redisUrl === ''
    ? openSqliteStore({ file: join(folder, 'runs.db') })
    : await connectRedisStore({ url: redisUrl, log: BENCH_LOG });
const engine = await startEngine({
  store,
  publisher: new LocalPublisher(BENCH_LOG),
  plugins: onePlugin(),
  sandboxes,
  log: BENCH_LOG,
  retentionMs: 60_000,
  stopGraceMs: 0,
});
await engine.runs.openPartition(PARTITION);
await fill('warm', WARM_RUNS);
const before = await memory();
await fill('counted', runs);
const after = await memory();
rmSync(folder, { recursive: true, force: true });
// The runs are left as they are: what they would still do is measured nowhere.
const told = { heapBytes: (after.heap - before.heap) / runs, rssBytes: (after.rss - before.rss) / runs };
process.send?.(told, () => process.exit(0));

/** Further runs, each with five of its ten steps done: the next in flight, or the run paused and at rest. */
async function fill(name: string, more: number): Promise<void> {
  const runIds = Array.from({ length: more }, (_, index) => `${name}-${index}`);
  const parkedBefore = engine.runs.parkedCount;
  const heldBefore = sandboxes.heldCount;
  await Promise.all(runIds.map((runId) => send('START', runId)));
  await sandboxes.held(heldBefore + more);
  if (kind !== 'rest') return;
  await Promise.all(runIds.map((runId) => send('PAUSE', runId)));
  sandboxes.release();
  while (engine.runs.parkedCount < parkedBefore + more) await sleep(LOOK_MS);
}

async function send(eventType: string, runId: string): Promise<void> {
  const steps = eventType === 'START' ? { steps: chain(STEPS) } : {};
  const read = readCommand({ eventType, flowId: 'bench', runId, ...steps });
  if (!read.ok) throw new Error(read.problem);
  const { outcome, message = '' } = await engine.runs.handle(read.command, 'cli', { partition: PARTITION });
  if (outcome !== 'ACCEPTED') throw new Error(`${eventType} of ${runId}: ${outcome} ${message}`);
}

/** What is left after a full collection. */
async function memory(): Promise<{ heap: number; rss: number }> {
  await sleep(1_000); // for the last acknowledgements
  for (let round = 0; round < 3; round++) globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, rss };
}

function onePlugin(): PluginSource {
  const value = { type: 'string' };
  const manifest = manifestSchema.parse({
    ...{ name: PLUGIN_ID, version: '1.0.0' },
    ...{ inputs: { text: value }, outputs: { text: value } },
  });
  const missing = { ok: false, code: 'PLUGIN_NOT_FOUND', message: 'nobody asks for it here' } as const;
  return {
    resolve: async (pluginId) => ({ ok: true, plugin: { pluginId, digest: `sha256:${'0'.repeat(64)}`, manifest } }),
    bundle: async () => missing,
    signature: async () => undefined,
    sourceMap: async () => undefined,
    names: async () => [PLUGIN_ID],
    close: async () => {},
  };
}
