/**
 * The services that all integration tests of one run share, started once and stopped at the end: `inject('redisUrl')`,
 * `inject('kafkaBrokers')`. Tests keep apart by an own database (`freshRedis`), own topics and own groups; a test that
 * kills a service starts an own one.
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

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const started = await Promise.allSettled([sharedRedis(), sharedKafka()]);
  const [redis, kafka] = started;
  const teardown = async () => {
    await Promise.all(started.map((service) => (service.status === 'fulfilled' ? service.value.stop() : undefined)));
  };
  if (redis.status === 'rejected' || kafka.status === 'rejected') {
    await teardown();
    throw new AggregateError(
      started.flatMap((service) => (service.status === 'rejected' ? [service.reason] : [])),
      'the services that integration tests need did not start',
    );
  }
  project.provide('redisUrl', redis.value.url);
  project.provide('kafkaBrokers', kafka.value.brokers);
  return teardown;
}
