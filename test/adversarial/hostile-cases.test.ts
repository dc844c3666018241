/**
 * The catalogue of the doctor, case by case and place by place, as `flowops sandbox doctor` runs it on a machine: the
 * list that a person sees and what is tested cannot drift.
 */
import type { HostileCase, Place } from '@flowops/sandbox/doctor/case.ts';
import { HOSTILE_CASES } from '@flowops/sandbox/doctor/catalogue.ts';
import { openDockerView } from '@flowops/sandbox/doctor/docker-view.ts';
import { casesAt, runDoctor } from '@flowops/sandbox/doctor/doctor.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DockerService, startDocker } from '../services/docker.ts';

/** All cases of one place, one after the other, on a machine that is busy with other tests. */
const LANE_MS = 900_000;

interface Lane {
  readonly env: () => Promise<Readonly<Record<string, string | undefined>>>;
  readonly close?: () => Promise<void>;
}

function laneOf(place: Place, { env, close }: Lane): void {
  const cases = casesAt(HOSTILE_CASES, place);
  const results = new Map<string, PromiseWithResolvers<readonly string[]>>();
  for (const { id } of cases) results.set(id, Promise.withResolvers());
  const interrupt = new AbortController();
  let run: Promise<unknown> = Promise.resolve();

  beforeAll(async () => {
    const found = await env();
    const docker = place.tier === 'container' ? await openDockerView(found.DOCKER_HOST) : undefined;
    if (docker?.ok === false) throw new Error(docker.problem);
    run = runDoctor({
      cases,
      places: [place],
      docker: docker?.docker,
      env: found,
      signal: interrupt.signal,
      onResult: ({ id, problems }) => results.get(id)?.resolve(problems),
    });
    run.catch((thrown: unknown) => {
      for (const result of results.values()) result.reject(thrown);
    });
    for (const result of results.values()) result.promise.catch(() => undefined); // told by its test
  }, LANE_MS);
  afterAll(async () => {
    interrupt.abort();
    await run.catch(() => undefined);
    await close?.();
  }, LANE_MS);

  it.each(cases.map((hostile): [string, HostileCase] => [`${hostile.id}: ${hostile.title}`, hostile]))(
    '%s',
    async (_, { id }) => {
      expect(await results.get(id)?.promise).toEqual([]);
    },
    LANE_MS,
  );
}

describe('in the isolate tier', () =>
  laneOf({ tier: 'isolate', runtime: 'isolated-vm' }, { env: async () => process.env }));

describe('at the sandbox host', () => laneOf({ tier: 'host', runtime: 'node' }, { env: async () => process.env }));

describe.each(['runc', 'runsc'] as const)('in the container tier with %s', (runtime) => {
  let service: DockerService | undefined;
  laneOf(
    { tier: 'container', runtime },
    {
      env: async () => {
        service = await startDocker();
        return { ...process.env, ...service.env };
      },
      close: async () => service?.stop(),
    },
  );
});
