/**
 * The services that all tests of one run share, whatever its projects are: started once, stopped after the last.
 * `inject('redisUrl')`, `inject('kafkaBrokers')`. Tests keep apart by an own database (`freshRedis`), own topics and own
 * groups; a test that kills a service starts an own one.
 *
 * Docker is only kept ready here, its image built: a test asks for it by `startDocker`, and where there is none only
 * those tests fail, each with what to do.
 */
import { messageOf } from '@flowops/proto/errors.ts';
import type { TestProject } from 'vitest/node';
import { startDocker } from './docker.ts';
import { sharedKafka } from './kafka.ts';
import { sharedRedis } from './redis.ts';

declare module 'vitest' {
  interface ProvidedContext {
    redisUrl: string;
    kafkaBrokers: string;
  }
}

interface Shared {
  users: number;
  redis?: ReturnType<typeof sharedRedis>;
  kafka?: ReturnType<typeof sharedKafka>;
  docker?: Promise<{ stop(): Promise<void> }>;
}

/** On the process, since each project loads this module anew. */
const SHARED = Symbol.for('flowops.test.services');
/** By project: what its tests never use would only cost them its start. */
const NEEDS: Readonly<Record<string, readonly (keyof Omit<Shared, 'users'>)[]>> = {
  contract: ['redis'],
  integration: ['redis', 'kafka', 'docker'],
  adversarial: ['docker'],
  e2e: ['redis', 'kafka', 'docker'],
};

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const shared = sharedServices();
  shared.users++;
  const teardown = () => release(shared);
  try {
    const needs = NEEDS[project.name] ?? [];
    if (needs.includes('redis')) shared.redis ??= sharedRedis();
    if (needs.includes('kafka')) shared.kafka ??= sharedKafka();
    if (needs.includes('docker')) shared.docker ??= startDocker().catch(withoutDocker);
    if (shared.redis !== undefined) project.provide('redisUrl', (await shared.redis).url);
    if (shared.kafka !== undefined) project.provide('kafkaBrokers', (await shared.kafka).brokers);
    await shared.docker;
    return teardown;
  } catch (cause) {
    await teardown();
    throw new Error('the services that these tests need did not start', { cause });
  }
}

function withoutDocker(thrown: unknown): { stop(): Promise<void> } {
  process.stderr.write(`docker: ${messageOf(thrown)}\n`);
  return { stop: async () => {} };
}

function sharedServices(): Shared {
  const holder: typeof globalThis & { [SHARED]?: Shared } = globalThis;
  holder[SHARED] ??= { users: 0 };
  return holder[SHARED];
}

async function release(shared: Shared): Promise<void> {
  shared.users--;
  if (shared.users > 0) return;
  const { redis, kafka, docker } = shared;
  delete shared.redis;
  delete shared.kafka;
  delete shared.docker;
  const started = await Promise.allSettled([redis, kafka, docker]);
  await Promise.all(started.map((service) => (service.status === 'fulfilled' ? service.value?.stop() : undefined)));
}
