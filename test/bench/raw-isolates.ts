/** Runs the yardstick of raw-isolate.ts in processes of their own. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface RawIsolates {
  readonly count: number;
  readonly ms: number;
  readonly cpuMs: number;
}

/** As many processes at the same time as asked for, each for `ms`. @param nice 10: what a worker has */
export function measureRaw(processes: number, ms: number, nice = 0): Promise<RawIsolates[]> {
  const entry = fileURLToPath(new URL('raw-isolate.ts', import.meta.url));
  const one = () =>
    new Promise<RawIsolates>((resolve, reject) => {
      const child = fork(entry, [String(ms), String(nice)], { execArgv: ['--no-node-snapshot'] });
      child.once('message', (told: RawIsolates) => resolve(told));
      child.once('error', reject);
      child.once('exit', (code) => code !== 0 && reject(new Error(`the raw bench ended with ${code}`)));
    });
  return Promise.all(Array.from({ length: processes }, one));
}
