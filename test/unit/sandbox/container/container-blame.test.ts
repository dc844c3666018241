import { describe, expect, it } from 'vitest';
import { type ContainerEnd, type EndWitnesses, judgeEnd } from '../../../../sandbox/container/container-blame.ts';
import type { ContainerFacts } from '../../../../sandbox/container/docker-engine.ts';

const EXITED: ContainerFacts = {
  isRunning: false,
  pid: 0,
  exitCode: 1,
  isOomKilled: false,
  error: '',
  imageId: 'sha256:i',
  inspected: {},
};
const DIED: ContainerEnd = { kind: 'died', detail: 'the connection was lost' };

function judge(end: ContainerEnd, changes: Partial<EndWitnesses> = {}) {
  return judgeEnd(end, {
    oomKills: 0,
    wasAtMemoryLimit: false,
    inspect: async () => ({ ok: true, value: EXITED }),
    isDaemonUnbroken: async () => true,
    ...changes,
  });
}

describe('how a step ended in its container', () => {
  it('is what the host ended it for, whatever else is seen afterwards', async () => {
    const end = { kind: 'charged', code: 'LIMIT_WALL', detail: 'it ran longer' } as const;
    expect(await judge(end, { oomKills: 1, isDaemonUnbroken: async () => false })).toEqual(end);
    expect(await judge({ kind: 'killed-on-cancel' })).toEqual({ kind: 'killed-on-cancel' });
  });

  it('is out of memory when the kernel counted a kill', async () => {
    expect(await judge(DIED, { oomKills: 1 })).toMatchObject({ kind: 'charged', code: 'LIMIT_MEMORY' });
  });

  it('is out of memory when it was killed at its limit by nobody of ours; an exit of its own there is a crash', async () => {
    const ended = (exitCode: number) => ({
      wasAtMemoryLimit: true,
      inspect: async () => ({ ok: true, value: { ...EXITED, exitCode } }) as const,
    });
    expect(await judge(DIED, ended(137))).toMatchObject({ code: 'LIMIT_MEMORY' });
    expect(await judge(DIED, ended(1))).toMatchObject({ code: 'SANDBOX_CRASHED' });
  });

  it('is out of memory when Docker says so, also some time after the end', async () => {
    let asked = 0;
    const inspect = async () => {
      const facts = { ...EXITED, exitCode: 137, isOomKilled: ++asked === 3 };
      return { ok: true, value: facts } as const;
    };
    expect(await judge(DIED, { inspect })).toMatchObject({ kind: 'charged', code: 'LIMIT_MEMORY' });
    expect(asked).toBe(3);
  });

  it('is out of memory rather than the loss of Docker when both are seen', async () => {
    expect(await judge(DIED, { oomKills: 1, isDaemonUnbroken: async () => false })).toMatchObject({
      code: 'LIMIT_MEMORY',
    });
  });

  it('is ours only when Docker was lost meanwhile', async () => {
    const unreachable = { ok: false, failure: { kind: 'unreachable', problem: 'gone' } } as const;
    const lost = { inspect: async () => unreachable, isDaemonUnbroken: async () => false };
    expect(await judge(DIED, lost)).toEqual({ kind: 'innocent', detail: 'Docker was lost in the middle' });
  });

  it('is a crash of the plugin when nothing explains it', async () => {
    expect(await judge(DIED)).toEqual({
      kind: 'charged',
      code: 'SANDBOX_CRASHED',
      detail: 'its container was lost (the connection was lost)',
    });
  });

  it('is ours when this host ended it for its own sake', async () => {
    expect(await judge({ kind: 'fault', detail: 'its sandbox was closed' })).toMatchObject({ kind: 'innocent' });
  });
});
