/**
 * What may happen to engines and to what they stand on. Each scenario is told when it acts by the share of runs that have
 * ended, so that its faults meet the load on a slow machine too; which engine it meets, and for how long, is drawn from
 * the seed. Where a fault can excuse something, the scenario says so, and nothing else is excused.
 */
import type { Arena, Scenario } from './arena.ts';
import { appendedBytes, type EngineRelays, forgetAfter, PARTITIONS } from './ground.ts';
import type { ProcessNode } from './process-node.ts';

/** Longer than a session of the group (6 s), and than an engine may act without its heartbeat. */
const PAST_SESSION_MS = 9000;
/** Enough that each partition gets some. */
const BURST = 30;
/** What a Redis with `appendfsync everysec` may lose, with some room to what engines allow for (2.5 s). */
const FORGOTTEN_MS = 1000;

const killEngine: Scenario = {
  name: 'kill-engine',
  about: 'kill -9 of each of three engines, one after the other, each started again',
  faults: (arena) =>
    eachEngine(arena, [0.15, 0.4, 0.65], async (engine) => {
      await arena.fault(`kill -9 ${engine.name}`, () => engine.kill9());
      await startAgain(arena, engine);
    }),
};

const killWaiting: Scenario = {
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

const powerCut: Scenario = {
  name: 'power-cut',
  about: 'two engines die with everything below them at one moment, at last all three',
  faults: async (arena) => {
    await eachEngine(arena, [0.15, 0.35], async (engine) => {
      await arena.fault(`power cut for ${engine.name}`, () => engine.powerCut());
      await startAgain(arena, engine);
    });
    await arena.reached(0.6);
    await arena.fault('power cut for all engines', () => Promise.all(arena.engines.map((engine) => engine.powerCut())));
    await Promise.all(arena.engines.map((engine) => engine.start()));
  },
};

const killHost: Scenario = {
  name: 'kill-host',
  about: 'kill -9 of the sandbox host of each engine, twice',
  faults: async (arena) => {
    await eachEngine(arena, [0.1, 0.25, 0.4], (engine) => hostOf(arena, engine));
    await eachEngine(arena, [0.55, 0.65, 0.75], (engine) => hostOf(arena, engine));
  },
};

const killWorkers: Scenario = {
  name: 'kill-workers',
  about: 'kill -9 of the processes that plugins run in; a step that was alone in one is charged with it',
  allowance: { codes: ['SANDBOX_CRASHED'] },
  faults: async (arena) => {
    for (const share of [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]) {
      await arena.reached(share);
      const engine = arena.chance.pick(arena.engines);
      await arena.fault(`kill -9 a worker of ${engine.name}`, () => engine.killWorker(arena.chance));
    }
  },
};

const killBroker: Scenario = {
  name: 'kill-broker',
  about: 'kill -9 of the Kafka broker, twice, started again after some seconds',
  faults: async (arena) => {
    for (const share of [0.25, 0.6]) {
      await arena.reached(share);
      await arena.fault('kill -9 the broker', () => arena.ground.kafka.kill9());
      await arena.wait(arena.chance.between(500, 5000));
      await arena.ground.kafka.restart();
    }
  },
};

const killRedis: Scenario = {
  name: 'kill-redis',
  about: 'kill -9 of Redis, three times; it comes back with its append-only file',
  faults: async (arena) => {
    for (const share of [0.2, 0.45, 0.7]) {
      await arena.reached(share);
      await arena.fault('kill -9 Redis', () => arena.ground.redis.kill9());
      await arena.wait(arena.chance.between(0, 4000));
      await arena.ground.redis.restart();
    }
  },
};

const redisGoesBack: Scenario = {
  name: 'redis-goes-back',
  about: 'Redis dies and comes back without its last second, while the engines live',
  faults: async (arena) => {
    const { redis, redisDir } = arena.ground;
    for (const share of [0.2, 0.45, 0.7]) {
      await arena.reached(share);
      const kept = appendedBytes(redisDir);
      await arena.wait(arena.chance.between(FORGOTTEN_MS / 4, FORGOTTEN_MS));
      await arena.fault('kill -9 Redis, which forgets its last moments', () => redis.kill9());
      const lost = appendedBytes(redisDir) - kept;
      forgetAfter(redisDir, kept);
      await arena.fault(`Redis comes back without its last ${lost} bytes`, () => redis.restart());
    }
  },
};

const freezeRedis: Scenario = {
  name: 'freeze-redis',
  about: 'Redis stands still for some seconds and goes on, twice',
  faults: async (arena) => {
    for (const share of [0.25, 0.6]) {
      await arena.reached(share);
      await arena.fault('SIGSTOP Redis', () => arena.ground.redis.freeze());
      await arena.wait(arena.chance.between(1000, PAST_SESSION_MS));
      await arena.fault('SIGCONT Redis', () => arena.ground.redis.thaw());
    }
  },
};

const freezeEngine: Scenario = {
  name: 'freeze-engine',
  about: 'SIGSTOP for an engine past its session, its sandbox host goes on; it wakes when others hold its runs',
  faults: (arena) =>
    eachEngine(arena, [0.15, 0.5], async (engine) => {
      await arena.fault(`SIGSTOP ${engine.name}`, () => engine.freeze());
      await arena.wait(PAST_SESSION_MS + arena.chance.between(0, 4000));
      await arena.fault(`SIGCONT ${engine.name}`, () => engine.thaw());
    }),
};

const freezeMachine: Scenario = {
  name: 'freeze-machine',
  about: 'SIGSTOP for an engine with its sandbox host and workers, past its lease; all of it wakes at once',
  faults: (arena) =>
    eachEngine(arena, [0.15, 0.5], async (engine) => {
      await arena.fault(`SIGSTOP ${engine.name} and all below it`, () => engine.freezeTree());
      await arena.wait(2 * PAST_SESSION_MS + arena.chance.between(0, 4000));
      await arena.fault(`SIGCONT ${engine.name} and all below it`, () => engine.thaw());
    }),
};

const cutRedis: Scenario = {
  name: 'cut-redis',
  about: 'the network between one engine and Redis carries nothing, then breaks; the group sees nothing of it',
  isRelayed: true,
  faults: (arena) => eachNetwork(arena, 'Redis', ({ redis }) => redis),
};

const cutKafka: Scenario = {
  name: 'cut-kafka',
  about: 'the network between one engine and Kafka carries nothing, then breaks; others take over its partitions',
  isRelayed: true,
  faults: (arena) => eachNetwork(arena, 'Kafka', ({ kafka }) => kafka),
};

const rollingRestart: Scenario = {
  name: 'rolling-restart',
  about: 'SIGTERM for each engine in turn, started again when it has ended: no step needs to run twice',
  allowance: { reruns: false },
  faults: (arena) => eachEngine(arena, [0.15, 0.4, 0.65], (engine) => restartInOrder(arena, engine)),
};

const formats: Scenario = {
  name: 'formats',
  about: 'a rolling upgrade to STATE_FORMAT=2 under load, and the rolling way back',
  allowance: { reruns: false },
  env: { STATE_FORMAT: '1' },
  faults: async (arena) => {
    await eachEngine(arena, [0.1, 0.2, 0.3], (engine) => restartInOrder(arena, engine, { STATE_FORMAT: '2' }));
    await eachEngine(arena, [0.5, 0.6, 0.7], (engine) => restartInOrder(arena, engine, { STATE_FORMAT: '1' }));
  },
};

const partitionsAdded: Scenario = {
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

const storm: Scenario = {
  name: 'storm',
  about: 'any of these, one after the other, without waiting for the last one to be over',
  isRelayed: true,
  faults: async (arena) => {
    const { kafka, redis } = arena.ground;
    for (const share of [0.08, 0.16, 0.24, 0.32, 0.4, 0.48, 0.56, 0.64, 0.72]) {
      await arena.reached(share);
      const engine = arena.chance.pick(arena.engines);
      const relays = arena.ground.relays[arena.engines.indexOf(engine)];
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

export const SCENARIOS: readonly Scenario[] = [
  killEngine,
  killWaiting,
  powerCut,
  killHost,
  killWorkers,
  killBroker,
  killRedis,
  redisGoesBack,
  freezeRedis,
  freezeEngine,
  freezeMachine,
  cutRedis,
  cutKafka,
  rollingRestart,
  formats,
  partitionsAdded,
  storm,
];

/** The engines in an order that the seed draws, each when the next of the shares has ended. */
async function eachEngine(
  arena: Arena,
  shares: readonly number[],
  act: (engine: ProcessNode) => Promise<void>,
): Promise<void> {
  const engines = arena.chance.shuffled(arena.engines);
  for (const [index, share] of shares.entries()) {
    const engine = engines[index % engines.length];
    if (engine === undefined) throw new Error('the scenario has no engines');
    await arena.reached(share);
    await act(engine);
  }
}

async function startAgain(arena: Arena, engine: ProcessNode): Promise<void> {
  await arena.wait(arena.chance.between(0, 3000));
  await engine.start();
}

async function restartInOrder(
  arena: Arena,
  engine: ProcessNode,
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const named = Object.entries(env).map(([name, value]) => `, then ${name}=${value}`);
  await arena.fault(`SIGTERM ${engine.name}${named.join('')}`, () => engine.terminate());
  await engine.start(env);
}

async function hostOf(arena: Arena, engine: ProcessNode): Promise<void> {
  await arena.fault(`kill -9 the sandbox host of ${engine.name}`, () => engine.killHost());
}

async function eachNetwork(
  arena: Arena,
  what: string,
  relayOf: (relays: EngineRelays) => EngineRelays['kafka'],
): Promise<void> {
  await eachEngine(arena, [0.15, 0.45], async (engine) => {
    const relays = arena.ground.relays[arena.engines.indexOf(engine)];
    if (relays === undefined) throw new Error(`${engine.name} has no relays`);
    await breakNetwork(arena, engine, what, relayOf(relays));
  });
}

/** First nothing passes and nobody is told; then, as a seed has it, all connections break. */
async function breakNetwork(
  arena: Arena,
  { name }: ProcessNode,
  what: string,
  relay: EngineRelays['kafka'],
): Promise<void> {
  await arena.fault(`the network between ${name} and ${what} carries nothing`, () => relay.hold());
  await arena.wait(arena.chance.between(1000, PAST_SESSION_MS + 3000));
  if (arena.chance.isLuckyIn(0.5)) {
    await arena.fault(`the network between ${name} and ${what} breaks`, () => relay.cut());
    await arena.wait(arena.chance.between(0, 3000));
  }
  await arena.fault(`the network between ${name} and ${what} is mended`, () => relay.mend());
}
