/**
 * The plugin has escaped V8 (hostile cases 56, 57, 67): in place of the worker runs a program of the attacker with all
 * of Node and any system call, in the real jail of a real host, as root and as an ordinary user. What it reaches is
 * nothing; what it costs is its own step; and when it is told to be gone, it is.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cpuMsOf } from '../../sandbox/doctor/process-tree.ts';
import type { Look } from '../fixtures/sandbox/ways-out.ts';
import {
  CANARY,
  type HostileHost,
  nativeAddon,
  ORDINARY_UID,
  startHostileHost,
} from '../support/hostile-host-process.ts';
import { skipBecause } from '../support/skip.ts';

/** Two seconds of CPU at nice 10 take their time on a busy machine. */
const SLOW_MS = 120_000;
/** What goes on computing is seen by the CPU it gets, which is little beside others. */
const UNTIL_MS = 60_000;
const isLinux = process.platform === 'linux';
const isRoot = process.getuid?.() === 0;
const hasNative = isLinux && nativeAddon() !== undefined;

/** Processes in a root of ours, by the host's eyes. */
function jailedPids(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      if (!Number.isInteger(pid)) return false;
      try {
        return /\/flowops-sandbox-\d+\/root-/.test(readlinkSync(`/proc/${pid}/root`));
      } catch {
        return false;
      }
    });
}

function descendants(of: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    try {
      parents.set(Number(name), Number(/^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1]));
    } catch {
      // gone, or no process
    }
  }
  const isBelow = (pid: number): boolean => pid > 1 && (pid === of || isBelow(parents.get(pid) ?? 0));
  return [...parents.keys()].filter((pid) => pid !== of && isBelow(pid));
}

/** R, S, Z …; undefined when it is gone. */
function stateOf(pid: number): string | undefined {
  try {
    return /^State:\t(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}

async function until(isSo: () => boolean, what: string): Promise<void> {
  const end = performance.now() + UNTIL_MS;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`not within ${UNTIL_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const USERS: { readonly who: string; readonly uid?: number }[] = [
  { who: 'as whoever runs this' },
  ...(isRoot ? [{ who: 'as an ordinary user', uid: ORDINARY_UID }] : []),
];

describe.runIf(isLinux).each(USERS)('native code in a worker, the host running $who', (user) => {
  let host: HostileHost;
  beforeAll(async () => {
    host = await startHostileHost(user);
  });
  afterAll(() => host.close());

  it('57: finds no way out of its jail, and nothing worth having in it', async () => {
    const outcome = await host.run({ do: 'look', canary: CANARY, files: [process.cwd(), process.execPath] });
    if (outcome.outputsJson === undefined) throw new Error(JSON.stringify(outcome));
    const look = JSON.parse(outcome.outputsJson) as Look;
    expect(look.open).toEqual([]);
    expect(look.tried).toBeGreaterThan(100);
    expect(look.seen.env).toEqual(['PWD=/']);
    expect(look.seen.root).toEqual(expect.not.arrayContaining(['proc', 'sys', 'dev', 'etc', 'tmp', 'run', 'home']));
    expect(look.seen.descriptors.filter((line) => /file$/.test(line))).toEqual([]);
    expect(look.hasNative).toBe(hasNative);
  });

  it('57: cannot reach another process by its process group', async (context) => {
    if (!hasNative) return skipBecause(context, 'no C compiler is installed');
    await host.run({ do: 'kill-group', plugin: 'group', signal: 15 });
    await host.run({ do: 'stop-group', plugin: 'group' });
    expect(await host.run({ do: 'complete', plugin: 'neighbour' })).toMatchObject({ status: 'COMPLETED' });
    expect(await host.run({ do: 'complete', plugin: 'group' })).toMatchObject({ status: 'COMPLETED' });
  });

  it('25, 57: makes no process, however often it tries', async (context) => {
    if (!hasNative) return skipBecause(context, 'no C compiler is installed');
    const before = descendants(host.pid).length;
    const outcome = await host.run({ do: 'fork-bomb', plugin: 'bomb' });
    expect(outcome).toMatchObject({ status: 'COMPLETED', outputsJson: '{"made":0}' });
    expect(descendants(host.pid).length).toBeLessThan(before + 10);
  });

  it('56: that hides as a zombie is killed on a cancel, and no thread of it is left', async (context) => {
    if (!hasNative) return skipBecause(context, 'no C compiler is installed');
    const before = new Set(jailedPids());
    const ended = host.run({ do: 'hide-as-zombie', plugin: 'zombie', wallMs: 1_000 });
    expect(await ended).toMatchObject({ status: 'FAILED' });
    const fresh = jailedPids().filter((pid) => !before.has(pid));
    for (const pid of fresh) expect(stateOf(pid)).not.toBe('Z');
    expect(await host.run({ do: 'complete', plugin: 'zombie' })).toMatchObject({ status: 'COMPLETED' });
  });

  it(
    '67: that claims to have used no CPU ends by its CPU limit all the same',
    async () => {
      const outcome = await host.run({ do: 'burn-and-claim-no-cpu', plugin: 'burner' });
      expect(outcome).toMatchObject({ status: 'FAILED', code: 'LIMIT_CPU' });
      expect(outcome.receipt).toMatchObject({ sources: { cpuMs: 'host' } });
      expect(outcome.receipt?.cpuMs ?? 0).toBeGreaterThan(1_000);
    },
    SLOW_MS,
  );

  it('67: that claims to have used no CPU has what the kernel counted in its receipt', async () => {
    const outcome = await host.run({ do: 'claim-no-cpu', plugin: 'liar', ms: 400 });
    expect(outcome).toMatchObject({
      status: 'COMPLETED',
      receipt: { sources: { cpuMs: 'host', peakMemoryBytes: 'host' } },
    });
    expect(outcome.receipt?.cpuMs ?? 0).toBeGreaterThan(200);
    expect(outcome.receipt?.peakMemoryBytes ?? 0).toBeGreaterThan(10_000_000);
  });

  it('that goes on computing after its result is ended', { timeout: SLOW_MS }, async () => {
    const before = new Set(descendants(host.pid));
    expect(await host.run({ do: 'burn-after-result', plugin: 'miner' })).toMatchObject({ status: 'COMPLETED' });
    const burners = () => descendants(host.pid).filter((pid) => !before.has(pid) && cpuMsOf([pid]) > 300);
    await until(() => burners().length > 0, 'it burns');
    await until(() => burners().length === 0, 'it is gone');
  });

  it('that makes more host calls than a step may is ended by the host', async () => {
    const outcome = await host.run({ do: 'flood-host-calls', plugin: 'caller', wallMs: 20_000 });
    expect(outcome).toMatchObject({ status: 'FAILED', code: 'LIMIT_HOST_CALLS' });
  });

  it('that floods its standard error is not read for ever', async () => {
    const beforeMs = cpuMsOf([host.pid]);
    const outcome = await host.run({ do: 'flood-stderr', plugin: 'flood' });
    if (outcome.outputsJson !== undefined) {
      const { written } = JSON.parse(outcome.outputsJson) as { written: number };
      expect(written).toBeLessThan(100 * 1024 * 1024);
    }
    expect(cpuMsOf([host.pid]) - beforeMs).toBeLessThan(3_000);
  });

  it('that hoards memory is LIMIT_MEMORY', async () => {
    expect(await host.run({ do: 'hoard', plugin: 'hoard' })).toMatchObject({
      status: 'FAILED',
      code: 'LIMIT_MEMORY',
    });
  });
});

describe.runIf(isLinux)('a worker that switched its death signal off', () => {
  it('48: goes with the next start of a host, when its own was killed', async (context) => {
    if (!hasNative) return skipBecause(context, 'no C compiler is installed');
    const first = await startHostileHost();
    const before = new Set(jailedPids());
    first.order({ do: 'outlive' });
    await first.told(({ started }) => started === 'outlive');
    const mine = jailedPids().filter((pid) => descendants(first.pid).includes(pid) || !before.has(pid));
    expect(mine.length).toBeGreaterThan(0);
    first.kill();
    await until(() => descendants(first.pid).length === 0, 'the host is gone');
    const next = await startHostileHost();
    await until(() => jailedPids().every((pid) => !mine.includes(pid)), 'the left worker is gone');
    await next.close();
  });
});
