/** What happens to engines and to what they have started: killed, without power, standing still. */
import type { Scenario } from '../scenario.ts';
import { eachEngine, hostOf, PAST_SESSION_MS, startAgain } from './acts.ts';

/** Enough that each partition gets some. */
const BURST = 30;

export const killEngine: Scenario = {
  name: 'kill-engine',
  about: 'kill -9 of each of three engines, one after the other, each started again',
  faults: (arena) =>
    eachEngine(arena, [0.15, 0.4, 0.65], async (engine) => {
      await arena.fault(`kill -9 ${engine.name}`, () => engine.kill9());
      await startAgain(arena, engine);
    }),
};

export const killWaiting: Scenario = {
  name: 'kill-waiting',
  about: 'Redis stands still while commands come in, and the engine that has read them dies before it is back',
  faults: async (arena) => {
    const { redis } = arena.ground;
    await eachEngine(arena, [0.15, 0.45], async (engine) => {
      await arena.fault('SIGSTOP Redis', () => redis.freeze());
      await arena.burst(BURST);
      await arena.wait(arena.chance.between(500, 1500));
      await arena.fault(`kill -9 ${engine.name}`, () => engine.kill9());
      await arena.fault('SIGCONT Redis', () => redis.thaw());
      await startAgain(arena, engine);
    });
  },
};

export const killUntold: Scenario = {
  name: 'kill-untold',
  about: 'the broker dies, runs go on untold, and the engine that has yet to tell of them dies before it is back',
  faults: async (arena) => {
    const { kafka } = arena.ground;
    await eachEngine(arena, [0.15, 0.5], async (engine) => {
      await arena.fault('kill -9 the broker', () => kafka.kill9());
      await arena.wait(arena.chance.between(1000, 3000));
      await arena.fault(`kill -9 ${engine.name}`, () => engine.kill9());
      await kafka.restart();
      await startAgain(arena, engine);
    });
  },
};

export const powerCut: Scenario = {
  name: 'power-cut',
  about: 'two engines die with everything below them at one moment, at last all three',
  faults: async (arena) => {
    await eachEngine(arena, [0.15, 0.35], async (engine) => {
      await arena.fault(`power cut for ${engine.name}`, () => engine.powerCut());
      await startAgain(arena, engine);
    });
    await arena.reached(0.6);
    await arena.fault('power cut for all engines', () =>
      Promise.all(arena.nodes.engines.map((engine) => engine.powerCut())),
    );
    await Promise.all(arena.nodes.engines.map((engine) => engine.start()));
  },
};

export const killHost: Scenario = {
  name: 'kill-host',
  about: 'kill -9 of the sandbox host of each engine, twice',
  faults: async (arena) => {
    await eachEngine(arena, [0.1, 0.25, 0.4], (engine) => hostOf(arena, engine));
    await eachEngine(arena, [0.55, 0.65, 0.75], (engine) => hostOf(arena, engine));
  },
};

export const killWorkers: Scenario = {
  name: 'kill-workers',
  about: 'kill -9 of the processes that plugins run in; a step that was alone in one is charged with it',
  allowance: { codes: ['SANDBOX_CRASHED'] },
  faults: async (arena) => {
    for (const share of [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]) {
      await arena.reached(share);
      const engine = arena.chance.pick(arena.nodes.engines);
      await arena.fault(`kill -9 a worker of ${engine.name}`, () => {
        if (!engine.killWorker(arena.chance)) arena.note(`${engine.name} had no worker at that moment`);
      });
    }
  },
};

export const freezeEngine: Scenario = {
  name: 'freeze-engine',
  about: 'SIGSTOP for an engine past its session, its sandbox host goes on; it wakes when others hold its runs',
  faults: (arena) =>
    eachEngine(arena, [0.15, 0.5], async (engine) => {
      await arena.fault(`SIGSTOP ${engine.name}`, () => engine.freeze());
      await arena.wait(PAST_SESSION_MS + arena.chance.between(0, 4000));
      await arena.fault(`SIGCONT ${engine.name}`, () => engine.thaw());
    }),
};

export const freezeFenced: Scenario = {
  ...freezeEngine,
  name: 'freeze-fenced',
  about: 'SIGSTOP for an engine past its session, where statuses are sent in transactions',
  env: { KAFKA_PUBLISH_FENCE: 'transaction' },
};

export const freezeMachine: Scenario = {
  name: 'freeze-machine',
  about: 'SIGSTOP for an engine with its sandbox host and workers, past its lease; all of it wakes at once',
  faults: (arena) =>
    eachEngine(arena, [0.15, 0.5], async (engine) => {
      await arena.fault(`SIGSTOP ${engine.name} and all below it`, () => engine.freezeTree());
      await arena.wait(2 * PAST_SESSION_MS + arena.chance.between(0, 4000));
      await arena.fault(`SIGCONT ${engine.name} and all below it`, () => engine.thaw());
    }),
};
