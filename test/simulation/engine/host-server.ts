/** A place where sandbox hosts run, one process after the other: whoever is killed is started anew after a while. */
import type { CodeWitness, Kind } from '../hosts/plugin-code.ts';
import { SimulatedHost } from '../hosts/simulated-host.ts';
import type { HostAddress } from '../hosts/simulated-sandboxes.ts';
import { SimProcess } from '../world/process.ts';
import type { World } from '../world/world.ts';

export interface HostServerOptions {
  readonly world: World;
  readonly name: string;
  readonly isShared: boolean;
  readonly maxAttempts: number;
  readonly witness: CodeWitness;
  readonly faultChance: number;
  /** How long until another process takes the place of one that died, ms. */
  readonly restartMs: () => number;
}

export class HostServer implements HostAddress {
  readonly name: string;
  readonly isShared: boolean;
  readonly #options: HostServerOptions;
  readonly #former = new Set<string>();
  #current: SimulatedHost;
  #starts = 0;
  #isOver = false;

  constructor(options: HostServerOptions) {
    this.#options = options;
    this.name = options.name;
    this.isShared = options.isShared;
    this.#current = this.#start();
  }

  current(): SimulatedHost | undefined {
    return this.#current.process.isDead ? undefined : this.#current;
  }

  hasEnded(instance: string): boolean {
    return this.#former.has(instance) || (this.#current.instance === instance && this.#current.process.isDead);
  }

  /** kill -9 */
  kill(): void {
    this.#current.process.kill();
  }

  /** Ends for good. */
  end(): void {
    this.#isOver = true;
    this.kill();
  }

  #start(): SimulatedHost {
    const { world, name, maxAttempts, witness, faultChance, restartMs } = this.#options;
    const instance = `${name}#${++this.#starts}`;
    const process = new SimProcess(world, instance);
    process.onDeath(() => {
      world.tell(instance, 'is gone');
      this.#former.add(instance);
      world.at(restartMs(), () => {
        if (!this.#isOver) this.#current = this.#start();
      });
    });
    const kindOf = (pluginId: string) => pluginId.replace(/^sim\./, '') as Kind; // plan/flows.ts names them so
    const endedInstances = [...this.#former];
    world.tell(instance, 'starts');
    return new SimulatedHost({ process, instance, maxAttempts, witness, kindOf, endedInstances, faultChance });
  }
}
