/**
 * The services that all tests of one run share, whatever its projects are: started once, stopped after the last.
 * `inject('redisUrl')`, `inject('kafkaBrokers')`. Tests keep apart by an own database (`freshRedis`), own topics and own
 * groups; a test that kills a service starts an own one.
 */
import type { TestProject } from 'vitest/node';
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
}

/** On the process, since each project loads this module anew. */
const SHARED = Symbol.for('flowops.test.services');
/** Contract tests are about stores; a Kafka would only cost them its start. */
const WITHOUT_KAFKA = new Set(['contract']);

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const shared = sharedServices();
  shared.users++;
  const teardown = () => release(shared);
  try {
    shared.redis ??= sharedRedis();
    if (!WITHOUT_KAFKA.has(project.name)) shared.kafka ??= sharedKafka();
    project.provide('redisUrl', (await shared.redis).url);
    if (shared.kafka !== undefined) project.provide('kafkaBrokers', (await shared.kafka).brokers);
    return teardown;
  } catch (cause) {
    await teardown();
    throw new Error('the services that these tests need did not start', { cause });
  }
}

function sharedServices(): Shared {
  const holder: typeof globalThis & { [SHARED]?: Shared } = globalThis;
  holder[SHARED] ??= { users: 0 };
  return holder[SHARED];
}

async function release(shared: Shared): Promise<void> {
  shared.users--;
  if (shared.users > 0) return;
  const { redis, kafka } = shared;
  delete shared.redis;
  delete shared.kafka;
  const started = await Promise.allSettled([redis, kafka]);
  await Promise.all(started.map((service) => (service.status === 'fulfilled' ? service.value?.stop() : undefined)));
}
