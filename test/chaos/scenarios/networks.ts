/** What happens between one engine and Kafka or Redis, while the others see nothing of it. */
import type { Scenario } from '../scenario.ts';
import { eachNetwork } from './acts.ts';

export const cutRedis: Scenario = {
  name: 'cut-redis',
  about: 'the network between one engine and Redis carries nothing, then breaks; the group sees nothing of it',
  isRelayed: true,
  faults: (arena) => eachNetwork(arena, 'Redis', ({ redis }) => redis),
};

export const cutKafka: Scenario = {
  name: 'cut-kafka',
  about: 'the network between one engine and Kafka carries nothing, then breaks; others take over its partitions',
  isRelayed: true,
  faults: (arena) => eachNetwork(arena, 'Kafka', ({ kafka }) => kafka),
};
