/** Steps that several scenarios are made of. */
import type { EngineRelays } from '../ground.ts';
import type { ProcessNode } from '../process-node.ts';
import type { Relay } from '../relay.ts';
import type { Arena } from '../scenario.ts';

/** Longer than a session of the group (6 s), and than an engine may act without its heartbeat. */
export const PAST_SESSION_MS = 9000;

/** The engines in an order that the seed draws, each when the next of the shares has ended. */
export async function eachEngine(
  arena: Arena,
  shares: readonly number[],
  act: (engine: ProcessNode) => Promise<void>,
): Promise<void> {
  const engines = arena.chance.shuffled(arena.nodes.engines);
  for (const [index, share] of shares.entries()) {
    const engine = engines[index % engines.length];
    if (engine === undefined) throw new Error('the scenario has no engines');
    await arena.reached(share);
    await act(engine);
  }
}

export async function startAgain(arena: Arena, engine: ProcessNode): Promise<void> {
  await arena.wait(arena.chance.between(0, 3000));
  await engine.start();
}

export async function restartInOrder(
  arena: Arena,
  engine: ProcessNode,
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const named = Object.entries(env).map(([name, value]) => `, then ${name}=${value}`);
  await arena.fault(`SIGTERM ${engine.name}${named.join('')}`, async () => {
    const { code, signal } = await engine.terminate();
    if (code !== 0) arena.note(`${engine.name} ended with ${signal ?? `exit code ${code}`} after SIGTERM`);
  });
  await engine.start(env);
}

export async function hostOf(arena: Arena, engine: ProcessNode): Promise<void> {
  await arena.fault(`kill -9 the sandbox host of ${engine.name}`, () => {
    if (!engine.killHost()) arena.note(`${engine.name} had no sandbox host at that moment`);
  });
}

export async function eachNetwork(arena: Arena, what: string, relayOf: (relays: EngineRelays) => Relay): Promise<void> {
  await eachEngine(arena, [0.15, 0.45], async (engine) => {
    const relays = arena.ground.relays[arena.nodes.engines.indexOf(engine)];
    if (relays === undefined) throw new Error(`${engine.name} has no relays`);
    await breakNetwork(arena, engine, what, relayOf(relays));
  });
}

/** First nothing passes and nobody is told; then, as a seed has it, all connections break. */
export async function breakNetwork(arena: Arena, { name }: ProcessNode, what: string, relay: Relay): Promise<void> {
  await arena.fault(`the network between ${name} and ${what} carries nothing`, () => relay.hold());
  await arena.wait(arena.chance.between(1000, PAST_SESSION_MS + 3000));
  if (arena.chance.isLuckyIn(0.5)) {
    await arena.fault(`the network between ${name} and ${what} breaks`, () => relay.cut());
    await arena.wait(arena.chance.between(0, 3000));
  }
  await arena.fault(`the network between ${name} and ${what} is mended`, () => relay.mend());
}
