/**
 * Recycling: isolated-vm keeps a little of every isolate, so a worker is replaced after a bounded number of steps. Real
 * steps of one plugin in real jailed workers, more of them than one worker may have.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AttemptRequest } from '../../proto/attempt.ts';
import { digestOf } from '../../proto/ids.ts';
import { descendantsOf, isAlive } from '../../sandbox/doctor/process-tree.ts';
import { residentBytes } from '../../sandbox/kernel/process-figures.ts';
import { openScriptedHost, runStep, type ScriptedHost, stepOf } from '../fixtures/sandbox/scripted-host.ts';
import { bundleOf } from '../support/worker-host.ts';

/** As worker-process.ts has it. */
const MAX_STEPS = 2_000;
const STEPS = MAX_STEPS + 150;
/** A worker that is larger at rest would be recycled for that; the base of an honest one is a third of it. */
const MAX_RESIDENT_BYTES = 400 * 1024 * 1024;
const LOOK_EVERY = 50;
const AT_ONCE = 2;

let scripted: ScriptedHost;
beforeAll(async () => {
  // A domain has half of the workers: this one has one.
  scripted = await openScriptedHost({ isReal: true, maxWorkers: 2 });
});
afterAll(() => scripted.close());

const bytes = Buffer.from(bundleOf('return { o: inputs.n };', numbers()));
const digest = digestOf(bytes);
const bundle: AttemptRequest['bundle'] = async () => ({ ok: true, bundle: { digest, bytes } });

function numbers() {
  return { inputs: { n: { type: 'json', required: true } }, outputs: { o: { type: 'json' } } } as const;
}

/** Those that are jailed workers, not what starts them. */
function workers(): number[] {
  return descendantsOf(process.pid).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('/node\0');
    } catch {
      return false; // gone meanwhile
    }
  });
}

function memoryGroups(): string[] {
  const folder = '/sys/fs/cgroup/memory';
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => name.startsWith(`flowops-sandbox-${process.pid}-`));
}

describe.runIf(process.platform === 'linux')('a worker', () => {
  it('is replaced after 2,000 steps, and no step notices', { timeout: 300_000 }, async () => {
    const seen = new Set<number>();
    const failed: unknown[] = [];
    let goneEarly: number[] = [];
    let mostBytes = 0;
    let next = 0;
    const work = async (): Promise<void> => {
      for (let n = next++; n < STEPS; n = next++) {
        const outcome = await runStep(
          scripted.host,
          stepOf('step', { digest, bundle, inputsJson: `{"n":${n}}` }, 'test.plugin'),
        );
        if (outcome.status !== 'COMPLETED' || outcome.outputsJson !== `{"o":${n}}`) failed.push(outcome);
        if (n === MAX_STEPS - LOOK_EVERY) goneEarly = [...seen].filter((pid) => !isAlive(pid));
        if (n % LOOK_EVERY !== 0) continue;
        for (const pid of workers()) {
          seen.add(pid);
          mostBytes = Math.max(mostBytes, residentBytes(pid) ?? 0);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    expect(failed).toEqual([]);
    expect(goneEarly).toEqual([]);
    const now = new Set(workers());
    const gone = [...seen].filter((pid) => !now.has(pid));
    expect(gone.length).toBeGreaterThan(0);
    expect(mostBytes).toBeGreaterThan(0);
    expect(mostBytes).toBeLessThan(MAX_RESIDENT_BYTES);
    // A group of memory is that of a worker that is there.
    expect(memoryGroups().length).toBeLessThanOrEqual(now.size + 1);
    expect(gone.filter(isAlive)).toEqual([]);
  });
});
