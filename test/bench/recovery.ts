/**
 * An engine with a thousand active runs is killed (SIGKILL), and another process takes its place. Each run has ten steps,
 * the first of which waits: as many as there are places run, the others are ready. Times are those of the new engine's
 * own log: from its assignment to the moment when every run is claimed, its timers armed and its ready steps queued.
 */
import { z } from 'zod';
import { freshRedis } from '../services/redis.ts';
import type { FlowopsProcess } from '../support/service-process.ts';
import { EngineProcesses, topicsOf } from './engine-processes.ts';
import { HOLD_ID, PLUGIN_ID } from './engine-under-test.ts';
import { median, type Row, round } from './figures.ts';
import { FlowClient } from './flow-client.ts';
import type { KafkaBench } from './kafka-flows.ts';

const STEPS = 10;
const lineSchema = z.object({ time: z.number(), msg: z.string(), runs: z.number().default(0) });

export async function recoveryRow({ registry, redisUrl, kafka, isQuick, say }: KafkaBench): Promise<Row> {
  const runs = isQuick ? 200 : 1_000;
  const redis = await freshRedis(redisUrl);
  const services = { brokers: kafka.brokers, redisUrl: redis.url, registry, name: 'recovery' };
  const engines = new EngineProcesses(services);
  try {
    let engine = await engines.start();
    const client = await FlowClient.open(kafka.brokers, topicsOf(services.name));
    const started = await client.start(runs, heldChain());
    await started.begun;
    say(`  ${runs} runs are active`);
    const assignedMs: number[] = [];
    const killedMs: number[] = [];
    for (let round = 0; round < (isQuick ? 1 : 3); round++) {
      const atMs = Date.now();
      await engine.kill9();
      engine = engines.launch({}, 'home-0');
      const { fromMs, toMs } = await recovered(engine, runs);
      assignedMs.push(toMs - fromMs);
      killedMs.push(toMs - atMs);
    }
    await client.close();
    const figures = { runs, assignedMs: round(median(assignedMs)), killedMs: round(median(killedMs)) };
    return {
      what: `${runs} active runs of ${STEPS} steps after kill -9, taken up by a new process`,
      value: `${figures.assignedMs} ms from the assignment, ${figures.killedMs} ms from the kill`,
      target: '≤ 2000 ms from the assignment, aim 500',
      note: 'Redis by TCP; AOF everysec; from the kill: with the session of the dead member (6 s) and the start of a process',
      figures,
    };
  } finally {
    await engines.close();
    await redis.release();
  }
}

function heldChain() {
  return Array.from({ length: STEPS }, (_, index) =>
    index === 0
      ? { stepId: 's0', pluginId: HOLD_ID, inputs: { text: 'hello' } }
      : { stepId: `s${index}`, pluginId: PLUGIN_ID, inputs: { text: `s${index - 1}.text` } },
  );
}

/** The first partition's claim began, and all runs were there. Epoch ms. */
async function recovered(engine: FlowopsProcess, runs: number): Promise<{ fromMs: number; toMs: number }> {
  return engine.stderr.until(`${runs} recovered runs`, (texts) => {
    const lines = texts.flatMap((text) => {
      const line = lineSchema.safeParse(text.startsWith('{') ? JSON.parse(text) : undefined);
      return line.success ? [line.data] : [];
    });
    const begun = lines.filter(({ msg }) => msg === 'recovering runs');
    const done = lines.filter(({ msg }) => msg === 'the runs are recovered');
    const count = done.reduce((sum, line) => sum + line.runs, 0);
    if (count < runs) return undefined;
    return { fromMs: Math.min(...begun.map(({ time }) => time)), toMs: Math.max(...done.map(({ time }) => time)) };
  });
}
