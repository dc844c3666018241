/** Everything at once. */
import type { Scenario } from '../scenario.ts';
import { breakNetwork, hostOf, PAST_SESSION_MS, restartInOrder, startAgain } from './acts.ts';

export const storm: Scenario = {
  name: 'storm',
  about: 'any of these, one after the other, without waiting for the last one to be over',
  isRelayed: true,
  faults: async (arena) => {
    const { kafka, redis } = arena.ground;
    for (const share of [0.08, 0.16, 0.24, 0.32, 0.4, 0.48, 0.56, 0.64, 0.72]) {
      await arena.reached(share);
      const engine = arena.chance.pick(arena.nodes.engines);
      const relays = arena.ground.relays[arena.nodes.engines.indexOf(engine)];
      if (relays === undefined) throw new Error(`${engine.name} has no relays`);
      const faults: readonly (() => Promise<void>)[] = [
        async () => {
          await arena.fault(`kill -9 ${engine.name}`, () => engine.kill9());
          await startAgain(arena, engine);
        },
        async () => {
          await arena.fault(`power cut for ${engine.name}`, () => engine.powerCut());
          await startAgain(arena, engine);
        },
        () => hostOf(arena, engine),
        () => restartInOrder(arena, engine),
        async () => {
          await arena.fault('kill -9 Redis', () => redis.kill9());
          await arena.wait(arena.chance.between(0, 2000));
          await redis.restart();
        },
        async () => {
          await arena.fault('kill -9 the broker', () => kafka.kill9());
          await arena.wait(arena.chance.between(0, 2000));
          await kafka.restart();
        },
        async () => {
          await arena.fault(`SIGSTOP ${engine.name}`, () => engine.freeze());
          await arena.wait(arena.chance.between(1000, PAST_SESSION_MS + 2000));
          await arena.fault(`SIGCONT ${engine.name}`, () => engine.thaw());
        },
        () => breakNetwork(arena, engine, 'Redis', relays.redis),
        () => breakNetwork(arena, engine, 'Kafka', relays.kafka),
      ];
      await arena.chance.pick(faults)();
    }
  },
};
