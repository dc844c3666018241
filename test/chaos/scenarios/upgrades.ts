/** What operators do on purpose while runs are active: restarts in turn, upgrades and the way back, more partitions. */
import { PARTITIONS } from '../ground.ts';
import type { Scenario } from '../scenario.ts';
import { eachEngine, restartInOrder, startAgain } from './acts.ts';

/** However busy the machine is, what runs may finish. */
const PATIENT = { DRAIN_MS: '120000' };

export const rollingRestart: Scenario = {
  name: 'rolling-restart',
  about: 'SIGTERM for each engine in turn, started again when it has ended; hosts of their own end with them',
  env: PATIENT,
  faults: (arena) => eachEngine(arena, [0.15, 0.4, 0.65], (engine) => restartInOrder(arena, engine)),
};

export const formats: Scenario = {
  name: 'formats',
  about: 'a rolling upgrade to STATE_FORMAT=2 under load, and the rolling way back',
  env: { ...PATIENT, STATE_FORMAT: '1' },
  faults: async (arena) => {
    await eachEngine(arena, [0.1, 0.2, 0.3], (engine) => restartInOrder(arena, engine, { STATE_FORMAT: '2' }));
    await eachEngine(arena, [0.5, 0.6, 0.7], (engine) => restartInOrder(arena, engine, { STATE_FORMAT: '1' }));
  },
};

export const partitionsAdded: Scenario = {
  name: 'partitions-added',
  about: 'the commands topic gets more partitions while runs are active, and an engine dies after that',
  faults: async (arena) => {
    await arena.reached(0.15);
    const first = PARTITIONS + arena.chance.between(1, 4);
    await arena.fault(`the commands topic gets ${first} partitions`, () => arena.wire.addCommandPartitions(first));
    await arena.reached(0.4);
    await arena.fault(`the commands topic gets ${first + 3} partitions`, () =>
      arena.wire.addCommandPartitions(first + 3),
    );
    await eachEngine(arena, [0.6], async (engine) => {
      await arena.fault(`kill -9 ${engine.name}`, () => engine.kill9());
      await startAgain(arena, engine);
    });
  },
};
