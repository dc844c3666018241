/**
 * The catalogue of the doctor, case by case and place by place, as `flowops sandbox doctor` runs it on a machine: the
 * list that a person sees and what is tested cannot drift. Places run side by side, as many as there are cores for.
 */
import type { HostileCase, Place } from '@flowops/sandbox/doctor/case.ts';
import { HOSTILE_CASES } from '@flowops/sandbox/doctor/catalogue.ts';
import { openDockerView } from '@flowops/sandbox/doctor/docker-view.ts';
import { casesAt, runDoctor } from '@flowops/sandbox/doctor/doctor.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DockerService, startDocker } from '../services/docker.ts';

/** All cases of all places, on a machine that is busy with other tests. */
const ALL_MS = 1_200_000;

const PLACES: readonly [string, Place][] = [
  ['in the isolate tier', { tier: 'isolate', runtime: 'isolated-vm' }],
  ['at the sandbox host', { tier: 'host', runtime: 'node' }],
  ['in the container tier with runc', { tier: 'container', runtime: 'runc' }],
  ['in the container tier with runsc', { tier: 'container', runtime: 'runsc' }],
];

const results = new Map<string, PromiseWithResolvers<readonly string[]>>();
const resultOf = (place: Place, id: string): PromiseWithResolvers<readonly string[]> => {
  const key = `${place.runtime} ${id}`;
  const result = results.get(key) ?? Promise.withResolvers();
  results.set(key, result);
  result.promise.catch(() => undefined); // told by its test
  return result;
};

const interrupt = new AbortController();
let run: Promise<unknown> = Promise.resolve();
let service: DockerService | undefined;

beforeAll(async () => {
  service = await startDocker();
  const opened = await openDockerView(service.host);
  if (!opened.ok) throw new Error(opened.problem);
  run = runDoctor({
    cases: HOSTILE_CASES,
    places: PLACES.map(([, place]) => place),
    docker: opened.docker,
    env: { ...process.env, ...service.env },
    signal: interrupt.signal,
    onResult: ({ id, place, problems }) => resultOf(place, id).resolve(problems),
  });
  run.catch((thrown: unknown) => {
    for (const result of results.values()) result.reject(thrown);
  });
}, ALL_MS);

afterAll(async () => {
  interrupt.abort();
  await run.catch(() => undefined);
  await service?.stop();
}, ALL_MS);

describe.each(PLACES)('%s', (_, place) => {
  const cases = casesAt(HOSTILE_CASES, place).map((hostile): [string, HostileCase] => [
    `${hostile.id}: ${hostile.title}`,
    hostile,
  ]);
  for (const [, { id }] of cases) resultOf(place, id);

  it.each(cases)(
    '%s',
    async (_, { id }) => {
      expect(await resultOf(place, id).promise).toEqual([]);
    },
    ALL_MS,
  );
});
