/**
 * The isolate tier without engine and host: steps that do nothing in a real jailed worker, against raw fresh isolates
 * that are measured in turn with them, so that both have the same machine. Nothing here is durable.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuMsOf, descendantsOf } from '../../sandbox/doctor/process-tree.ts';
import type { IsolateWorker, WorkerJob } from '../../sandbox/isolate/worker-job.ts';
import type { WorkerSource } from '../../sandbox/isolate/worker-source.ts';
import { median, type Row, round } from './figures.ts';
import { measureRaw } from './raw-isolates.ts';
import { jobOf, runStep, spawnWorker } from './worker-step.ts';

const BLOCK_MS = 500;
/** Longer than making the next isolate takes. */
const REST_MS = 12;
const BURNERS = 8;
/** The yardstick beside a worker has a worker's priority. */
const WORKER_NICE = 10;
const SOCKET = 'inherited socket, nothing durable';

export async function isolateRows(source: WorkerSource, rounds: number): Promise<Row[]> {
  const jail = source.jailProblem() === undefined ? 'jailed worker' : 'worker WITHOUT A JAIL';
  return [...(await stepRows(source, jail, rounds)), await burnersRow(source, jail, rounds)];
}

interface Block {
  /** Wall time of each step. */
  readonly stepMs: number[];
  /** CPU of the worker for one. */
  readonly cpuMs: number;
}

async function stepRows(source: WorkerSource, jail: string, rounds: number): Promise<Row[]> {
  const before = new Set(descendantsOf(process.pid));
  const worker = await spawnWorker(source);
  const pids = descendantsOf(process.pid).filter((pid) => !before.has(pid));
  const fresh = jobOf({ name: 'bench.fresh' });
  const context = jobOf({ name: 'bench.context', freshness: 'context' });
  const raw: number[] = [];
  const rawCpu: number[] = [];
  const blocks: Record<'sequential' | 'rested' | 'context', Block[]> = { sequential: [], rested: [], context: [] };
  await block(worker, pids, fresh, 0);
  await block(worker, pids, context, 0);
  for (let n = 0; n < rounds; n++) {
    for (const { count, ms, cpuMs } of await measureRaw(1, BLOCK_MS, WORKER_NICE)) {
      raw.push(ms / count);
      rawCpu.push(cpuMs / count);
    }
    blocks.sequential.push(await block(worker, pids, fresh, 0));
    blocks.rested.push(await block(worker, pids, fresh, REST_MS));
    blocks.context.push(await block(worker, pids, context, 0));
  }
  await worker.close();
  const yardstick = { ms: median(raw), cpuMs: median(rawCpu) };
  const row = (what: string, kind: keyof typeof blocks, target: string): Row => {
    const ms = median(blocks[kind].flatMap(({ stepMs }) => stepMs));
    const cpuMs = median(blocks[kind].map((one) => one.cpuMs));
    const ratio = round(ms / yardstick.ms);
    const cpuRatio = round(cpuMs / yardstick.cpuMs);
    return {
      what: `no-op step in a ${jail}, ${what}`,
      value: `${round(ms)} ms, ${ratio}× a raw fresh isolate (${round(yardstick.ms)} ms)`,
      target,
      note: `CPU of the worker ${round(cpuMs)} ms a step, ${cpuRatio}×; ${SOCKET}`,
      figures: { ms: round(ms), rawMs: round(yardstick.ms), ratio, cpuMs: round(cpuMs), cpuRatio },
    };
  };
  return [
    row('one after the other', 'sequential', '≤ 1.5×'),
    row('its isolate made ahead', 'rested', '≤ 1.5×, aim below 1×'),
    row('`freshness: context`, one after the other', 'context', 'below a fresh isolate'),
  ];
}

async function block(worker: IsolateWorker, pids: readonly number[], job: WorkerJob, restMs: number): Promise<Block> {
  const stepMs: number[] = [];
  const cpuBefore = cpuMsOf(pids);
  const untilMs = performance.now() + BLOCK_MS;
  while (performance.now() < untilMs) {
    stepMs.push((await runStep(worker, job)).endedMs);
    if (restMs > 0) await sleep(restMs);
  }
  return { stepMs, cpuMs: (cpuMsOf(pids) - cpuBefore) / stepMs.length };
}

/** Eight plugins that compute without end, each in a worker of its own, as under the product's own limits. */
async function burnersRow(source: WorkerSource, jail: string, rounds: number): Promise<Row> {
  const worker = await spawnWorker(source);
  const job = jobOf({ name: 'bench.beside' });
  const alone = await besides(worker, job, rounds);
  const burners = await Promise.all(Array.from({ length: BURNERS }, () => spawnWorker(source)));
  const handles = await Promise.all(burners.map((burner, n) => startBurner(burner, n)));
  const beside = await besides(worker, job, rounds);
  for (const cancel of handles) cancel();
  await Promise.all([worker, ...burners].map((one) => one.close()));
  const figures = {
    aloneMs: round(alone.step),
    besideMs: round(beside.step),
    rawAloneMs: round(alone.raw),
    rawBesideMs: round(beside.raw),
  };
  return {
    what: `no-op step in a ${jail}, alone / beside ${BURNERS} plugins that compute without end`,
    value: `${figures.aloneMs} / ${figures.besideMs} ms`,
    note: `a raw isolate of ordinary priority: ${figures.rawAloneMs} / ${figures.rawBesideMs} ms; ${SOCKET}`,
    figures,
  };
}

async function besides(worker: IsolateWorker, job: WorkerJob, rounds: number): Promise<{ step: number; raw: number }> {
  const step: number[] = [];
  const raw: number[] = [];
  for (let n = 0; n < rounds; n++) {
    step.push(...(await block(worker, [], job, REST_MS)).stepMs);
    for (const { count, ms } of await measureRaw(1, BLOCK_MS)) raw.push(ms / count);
  }
  return { step: median(step), raw: median(raw) };
}

/** Resolves when it burns. */
function startBurner(worker: IsolateWorker, n: number): Promise<() => void> {
  const limits = { cpuMs: 3_600_000, wallMs: 3_600_000 };
  const job = jobOf({ name: `bench.burner${n}`, domain: `burner${n}`, body: 'for (;;) {}', limits });
  return new Promise((resolve) => {
    const { cancel } = worker.run(job, {
      onStarted: () => resolve(() => cancel({ graceMs: 0, reason: 'measured' })),
      onLog: () => true,
      onProgress: () => {},
      onHostCall: async () => ({ ok: false }),
      onEnded: () => {},
    });
  });
}
