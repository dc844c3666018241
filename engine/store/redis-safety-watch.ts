/**
 * Looks at every server of a Redis, at each connect (redis-connection.ts calls `admit`): one that may lose runs is
 * refused, unless the operator allows it. A failover or a restart can put such a server where a safe one was.
 */
import { FlowopsError } from '@flowops/proto/errors.ts';
import type { Log } from '../log.ts';
import type { RedisCommand } from './redis-connection.ts';
import { EVERYSEC_DELAY_MS, inspectRedis } from './redis-safety.ts';
import type { Durability } from './run-store.ts';

export class SafetyWatch {
  readonly #allowUnsafe: boolean;
  readonly #log: Log;
  /** What was told about a server, so that a reconnect does not tell it again. */
  readonly #told = new Set<string>();
  #worst: Durability | undefined;

  constructor(options: { readonly allowUnsafe: boolean; readonly log: Log }) {
    this.#allowUnsafe = options.allowUnsafe;
    this.#log = options.log;
  }

  /** @throws FlowopsError CONFIG_INVALID with each danger, its risk and the way out */
  readonly admit = async (command: RedisCommand, label: string): Promise<void> => {
    const safety = await inspectRedis(command);
    for (const name of safety.unchecked) {
      this.#warnOnce(`Redis at ${label} does not tell its ${name}: the engine cannot check that it is safe`);
    }
    this.#weigh(safety.durability, label);
    if (safety.dangers.length === 0) return;
    const what = `Redis at ${label} may lose runs: ${safety.dangers.join('; ')}`;
    if (!this.#allowUnsafe) {
      throw new FlowopsError('CONFIG_INVALID', `${what}. To use it all the same: REDIS_ALLOW_UNSAFE=true`);
    }
    this.#warnOnce(`${what}; used because REDIS_ALLOW_UNSAFE is set`);
  };

  /**
   * Of the weakest server seen so far.
   * @param canFailOver a replica that takes over has not got the last writes, however often the primary syncs its disk
   */
  durability(canFailOver: boolean): Durability {
    const { description, delayMs } = this.#worst ?? { description: 'redis, not looked at', delayMs: EVERYSEC_DELAY_MS };
    if (!canFailOver) return { description, delayMs };
    return { description: `${description}, replicas may take over`, delayMs: Math.max(delayMs, EVERYSEC_DELAY_MS) };
  }

  #weigh(durability: Durability, label: string): void {
    const before = this.#worst;
    if (before !== undefined && before.delayMs >= durability.delayMs) return;
    this.#worst = durability;
    if (before !== undefined) {
      this.#warnOnce(
        `Redis at ${label} keeps less than at the start (${before.description}, now ${durability.description}): start the engine again, so that it commits offsets that much later`,
      );
    }
  }

  #warnOnce(text: string): void {
    if (this.#told.has(text)) return;
    this.#told.add(text);
    this.#log.warn({}, text);
  }
}
