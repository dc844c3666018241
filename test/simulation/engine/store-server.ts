/** The simulated store as a server that engines reach over a network: it can be away, and come back without its last moments. */
import { NoteChannel } from '../store/simulated-store.ts';
import { StoreData } from '../store/store-data.ts';
import type { Wire } from '../world/wire.ts';
import { EPOCH_MS, type World } from '../world/world.ts';

/** `appendfsync everysec` may lose this much. */
export const STORE_MAY_LOSE_MS = 2_000;
const NODES = 3;

export class StoreServer {
  readonly data: StoreData;
  readonly channel = new NoteChannel();
  readonly #world: World;
  readonly #wires = new Set<Wire>();
  isUp = true;
  /** Another one after each start of the server. */
  incarnation = 1;

  constructor(world: World, options: { mayLose: boolean }) {
    this.#world = world;
    this.data = new StoreData({
      now: () => EPOCH_MS + world.nowMs,
      keptMs: options.mayLose ? 2 * STORE_MAY_LOSE_MS : 0,
    });
  }

  join(wire: Wire): void {
    this.#wires.add(wire);
  }

  /** Away for a while. @param lostMs what it has forgotten when it is back */
  fail(awayMs: number, lostMs: number, scope: 'all' | 'one-node'): void {
    if (!this.isUp) return;
    this.isUp = false;
    this.#world.tell('store', `away for ${awayMs} ms${lostMs > 0 ? `, loses its last ${lostMs} ms` : ''}`);
    for (const wire of this.#wires) wire.breakDown('the store is away');
    const node = this.#world.chance.whole(0, NODES - 1);
    // Away without a loss: the network, or a server that wrote everything down.
    if (lostMs > 0 || this.#world.chance.happens(0.5)) this.incarnation++;
    if (lostMs > 0) this.data.goBack(lostMs, ({ name }) => scope === 'all' || slotOf(name) === node);
    this.#world.at(awayMs, () => {
      this.isUp = true;
    });
  }
}

function slotOf(name: string): number {
  let hash = 7;
  for (let i = 0; i < name.length; i++) hash = (hash * 31 + name.charCodeAt(i)) % 16_384;
  return hash % NODES;
}
