/**
 * What an active run of ten steps costs the engine's memory: one in memory (five steps done, the sixth in flight), and one
 * that rests (paused, and in the store). Many of them in a process of their own: run-memory-child.ts.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { freshRedis } from '../services/redis.ts';
import { type Row, round } from './figures.ts';

const toldSchema = z.object({ heapBytes: z.number(), rssBytes: z.number() });
type Kind = 'flight' | 'rest';

/** @param redisUrl a server on which each measurement gets a database of its own; undefined: SQLite */
export async function runMemoryRow(runs: number, redisUrl?: string): Promise<Row> {
  const rest = toldSchema.parse(await measured('rest', runs, redisUrl));
  const flight = toldSchema.parse(await measured('flight', runs, redisUrl));
  const kb = (bytes: number) => round(bytes / 1024);
  const figures = {
    runs,
    restKb: kb(rest.heapBytes),
    flightKb: kb(flight.heapBytes),
    restRssKb: kb(rest.rssBytes),
    flightRssKb: kb(flight.rssBytes),
  };
  return {
    what: `engine memory per active run of 10 steps, ${redisUrl === undefined ? 'SQLite' : 'Redis'}`,
    value: `idle ${figures.restKb} KB; with a step in flight ${figures.flightKb} KB`,
    target: '≤ 50 KB per idle run, aim 20',
    note:
      `heap and buffers after a full collection, ${runs} runs, five steps done; of the process as a whole (RSS) ` +
      `${figures.restRssKb} and ${figures.flightRssKb} KB`,
    figures,
  };
}

async function measured(kind: Kind, runs: number, redisUrl: string | undefined): Promise<unknown> {
  if (redisUrl === undefined) return await measuredOn(kind, runs, '');
  const own = await freshRedis(redisUrl);
  try {
    return await measuredOn(kind, runs, own.url);
  } finally {
    await own.release();
  }
}

function measuredOn(kind: Kind, runs: number, redisUrl: string): Promise<unknown> {
  const entry = fileURLToPath(new URL('run-memory-child.ts', import.meta.url));
  return new Promise((resolve, reject) => {
    const child = fork(entry, [kind, String(runs), redisUrl], { execArgv: ['--expose-gc'] });
    child.once('message', resolve);
    child.once('error', reject);
    child.once('exit', (code) => code !== 0 && reject(new Error(`the measurement of memory ended with ${code}`)));
  });
}
