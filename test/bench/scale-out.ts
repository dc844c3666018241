/**
 * Three engines against one on the same load: flows of no-op steps sent at once, on one Redis and one Kafka. On a machine
 * with few cores three cannot be faster; what it costs that they are three shows in the CPU they took for a flow.
 */

import { cpuMsOf, descendantsOf } from '../../sandbox/doctor/process-tree.ts';
import { freshRedis } from '../services/redis.ts';
import { ServedHost } from '../support/served-host.ts';
import { EngineProcesses, topicsOf } from './engine-processes.ts';
import { chain } from './engine-under-test.ts';
import { type Row, round } from './figures.ts';
import { FlowClient } from './flow-client.ts';
import type { KafkaBench } from './kafka-flows.ts';

/** Of the one sandbox host that all engines share. */
const WORKERS = 6;

interface Load {
  readonly flowsPerSecond: number;
  readonly engineCpuMs: number;
  readonly sandboxCpuMs: number;
}

export async function scaleOutRow(bench: KafkaBench): Promise<Row> {
  const one = await measure(bench, 1);
  const three = await measure(bench, 3);
  const figures = {
    oneFlowsPerSecond: round(one.flowsPerSecond),
    threeFlowsPerSecond: round(three.flowsPerSecond),
    ratio: round(three.flowsPerSecond / one.flowsPerSecond),
    oneEngineCpuMs: round(one.engineCpuMs),
    threeEngineCpuMs: round(three.engineCpuMs),
    oneSandboxCpuMs: round(one.sandboxCpuMs),
    threeSandboxCpuMs: round(three.sandboxCpuMs),
  };
  return {
    what: 'three engines against one, flows of 3 steps sent at once, Kafka to Kafka on Redis',
    value: `${figures.threeFlowsPerSecond} flows/s against ${figures.oneFlowsPerSecond}, ${figures.ratio}×`,
    note:
      `CPU a flow: engines ${figures.threeEngineCpuMs} ms against ${figures.oneEngineCpuMs}, ` +
      `sandboxes ${figures.threeSandboxCpuMs} against ${figures.oneSandboxCpuMs}; one sandbox host of ${WORKERS} isolate workers`,
    figures,
  };
}

async function measure({ registry, redisUrl, kafka, isQuick, say }: KafkaBench, count: number): Promise<Load> {
  const flows = isQuick ? 60 : 900;
  const redis = await freshRedis(redisUrl);
  const services = { brokers: kafka.brokers, redisUrl: redis.url, registry, name: `scale-${count}` };
  const processes = new EngineProcesses(services);
  const host = new ServedHost({
    SANDBOX_POLICY: processes.policy,
    SANDBOX_WORKERS: String(WORKERS),
    LOG_LEVEL: 'info',
  });
  try {
    await host.start();
    const env = { SANDBOX_URL: host.address };
    const engines = [];
    for (let at = 0; at < count; at++) engines.push(await processes.start(env));
    const client = await FlowClient.open(kafka.brokers, topicsOf(services.name));
    await (await client.start(flows / 3, chain(3))).ended;
    const pids = engines.map(({ pid }) => pid);
    const sandboxPid = host.process.pid;
    const cpu = () => ({ engineMs: cpuMsOf(pids), sandboxMs: cpuMsOf([sandboxPid, ...descendantsOf(sandboxPid)]) });
    const before = cpu();
    const startedMs = performance.now();
    await (await client.start(flows, chain(3))).ended;
    const ms = performance.now() - startedMs;
    const after = cpu();
    await client.close();
    say(`  ${count} engine(s): ${round((flows * 1_000) / ms)} flows/s`);
    return {
      flowsPerSecond: (flows * 1_000) / ms,
      engineCpuMs: (after.engineMs - before.engineMs) / flows,
      sandboxCpuMs: (after.sandboxMs - before.sandboxMs) / flows,
    };
  } finally {
    await processes.close();
    await host.close();
    await redis.release();
  }
}
