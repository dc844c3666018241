import { describe, expect, it } from 'vitest';
import type { ContainerFacts, DockerAnswer } from '../../../../sandbox/container/docker-engine.ts';
import { type EndOptions, LIFE_MARGIN_MS, proveEnd } from '../../../../sandbox/container/prove-end.ts';

const GONE = { ok: false, failure: { kind: 'unreachable', problem: 'gone' } } as const;
const NOT_THERE = { ok: false, failure: { kind: 'not-found', problem: 'none' } } as const;

function facts(isRunning: boolean): DockerAnswer<ContainerFacts> {
  const value = { isRunning, pid: 1, exitCode: 0, isOomKilled: false, error: '', imageId: '', inspected: {} };
  return { ok: true, value };
}

function docker(...answers: DockerAnswer<ContainerFacts>[]) {
  const calls: string[] = [];
  return {
    calls,
    inspect: async () => {
      calls.push('inspect');
      return answers.length > 1 ? (answers.shift() ?? GONE) : (answers[0] ?? GONE);
    },
    kill: async () => {
      calls.push('kill');
      return { ok: true, value: undefined } as const;
    },
  };
}

/** Empty after it was asked so many times. */
function view(options: { polls: number; mayKill: boolean }): EndOptions['view'] {
  let asked = 0;
  return {
    isEmpty: () => asked++ >= options.polls,
    kill: () => options.mayKill,
  };
}

const FAR = performance.now() + 3_600_000;

describe('the end of a container', () => {
  it('is what the kernel shows, without a word of Docker where this host may kill', async () => {
    const engine = docker(facts(true));
    const proof = await proveEnd({ engine, id: 'c', view: view({ polls: 3, mayKill: true }), lifeOverAtMs: FAR });
    expect([proof, engine.calls]).toEqual(['kernel', []]);
  });

  it('is asked of Docker where this host may not kill, and still seen in the kernel', async () => {
    const engine = docker(facts(true));
    const proof = await proveEnd({ engine, id: 'c', view: view({ polls: 3, mayKill: false }), lifeOverAtMs: FAR });
    expect([proof, engine.calls]).toEqual(['kernel', ['kill']]);
  });

  it('is what inspect says, not the answer to the kill', async () => {
    const engine = docker(facts(true), facts(true), facts(false));
    expect(await proveEnd({ engine, id: 'c', view: undefined, lifeOverAtMs: FAR })).toBe('inspect');
    expect(engine.calls).toEqual(['kill', 'inspect', 'inspect', 'inspect']);
  });

  it('is proven too when Docker knows no such container any more', async () => {
    expect(await proveEnd({ engine: docker(NOT_THERE), id: 'c', view: undefined, lifeOverAtMs: FAR })).toBe('inspect');
  });

  it('is waited for until Docker answers again', async () => {
    const engine = docker(GONE, GONE, facts(false));
    expect(await proveEnd({ engine, id: 'c', view: undefined, lifeOverAtMs: FAR })).toBe('inspect');
  });

  it('is the end of its life time, and some margin, while nobody can be asked: PID 1 keeps it', async () => {
    const over = performance.now() - LIFE_MARGIN_MS - 1;
    expect(await proveEnd({ engine: docker(GONE), id: 'c', view: undefined, lifeOverAtMs: over })).toBe('life-time');
  });

  it('is not believed after that time when Docker says that it runs', async () => {
    const over = performance.now() - LIFE_MARGIN_MS - 1;
    const engine = docker(facts(true), facts(true), facts(false));
    expect(await proveEnd({ engine, id: 'c', view: undefined, lifeOverAtMs: over })).toBe('inspect');
  });
});
