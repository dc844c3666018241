/**
 * What a dead engine wrote last reaches Redis when its runs have another owner, as after a network that held it back. Only
 * the fence of the store refuses it. A write that were taken would be under the new owner's next one, which the store then
 * takes for a repeat: so the new owners die, too, while what they told of it is all there is.
 */
import { statusEventSchema } from '@flowops/proto/statuses.ts';
import type { Pace } from '../flows.ts';
import type { Arena, Scenario } from '../scenario.ts';
import { eachEngine, PAST_SESSION_MS } from './acts.ts';

/** Short, so that the next owner runs again what it cannot ask for while the late writes are fresh. */
const LEASE_MS = 6000;
/** So many steps are under way again: the late writes of their runs are in the store. */
const RUN_AGAIN = 3;
const LOOK_MS = 250;
const MAX_WAIT_MS = 30_000;
/** For the others of them; less than a step takes. */
const AFTERWARDS_MS = 500;
/** A step is under way in its second attempt for longer than that moment is uncertain. */
const PACE: Pace = { minMs: 2000, maxMs: 4000, longShare: 0, deafShare: 0.1 };

export const lateWrites: Scenario = {
  name: 'late-writes',
  about: 'what an engine wrote to Redis before its kill -9 arrives when others have its runs, who then lose power',
  isRelayed: true,
  pace: PACE,
  maxRuns: 80,
  env: { SANDBOX_LEASE_MS: String(LEASE_MS) },
  faults: (arena) => eachEngine(arena, [0.1, 0.5], (engine) => writeLate(arena, engine)),
};

async function writeLate(arena: Arena, engine: Arena['nodes']['engines'][number]): Promise<void> {
  const { engines } = arena.nodes;
  const { name } = engine;
  const way = arena.ground.relays[engines.indexOf(engine)]?.redis;
  if (way === undefined) throw new Error(`${name} has no relays`);
  await arena.fault(`the network between ${name} and Redis carries nothing`, () => way.hold());
  await arena.wait(arena.chance.between(1500, 2500));
  await arena.fault(`kill -9 ${name}`, () => engine.kill9());
  await arena.wait(PAST_SESSION_MS + arena.chance.between(0, 1500));
  await arena.fault(`what ${name} had written reaches Redis`, () => way.mend());
  await untilRunAgain(arena, Date.now());
  const others = engines.filter((other) => other !== engine);
  await arena.fault('power cut for the others', () => Promise.all(others.map((other) => other.powerCut())));
  await Promise.all(engines.map((one) => one.start()));
}

/** The others have given up waiting for what ran there, and run it again. */
async function untilRunAgain(arena: Arena, sinceMs: number): Promise<void> {
  const isSecondTry = (value: string): boolean => {
    const event = statusEventSchema.safeParse(JSON.parse(value));
    if (!event.success || event.data.eventType !== 'STEP_STATUS' || event.data.status !== 'RUNNING') return false;
    return (event.data.attempt ?? 1) > 1 && Date.parse(event.data.timestamp) >= sinceMs;
  };
  for (let waitedMs = 0; waitedMs < MAX_WAIT_MS; waitedMs += LOOK_MS) {
    if (arena.wire.records.filter(({ value }) => isSecondTry(value ?? '{}')).length >= RUN_AGAIN) break;
    await arena.wait(LOOK_MS);
  }
  await arena.wait(AFTERWARDS_MS);
}
