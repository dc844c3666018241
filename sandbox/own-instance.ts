/**
 * The name of this host process, and the lock by which others of its FLOWOPS_HOME see whether it lives. Taken when the
 * first engine connects: only runs name hosts.
 */

import { messageOf } from '@flowops/proto/errors.ts';
import { type HeldInstance, holdInstance, newInstanceName } from '@flowops/proto/host-instances.ts';
import type { Logger } from 'pino';

export class OwnInstance {
  readonly name = newInstanceName();
  readonly #home: string;
  readonly #log: Logger;
  #held: HeldInstance | undefined;
  #isTried = false;

  constructor(home: string, log: Logger) {
    this.#home = home;
    this.#log = log;
  }

  /** Idempotent. Without a folder to write to, nobody can prove this host's end, and steps wait for its lease instead. */
  hold(): void {
    if (this.#isTried) return;
    this.#isTried = true;
    try {
      this.#held = holdInstance(this.#home, this.name);
    } catch (thrown) {
      this.#log.warn({ home: this.#home }, `this host's end will not be seen at once: ${messageOf(thrown)}`);
    }
  }

  /** After everything that ran has ended. Idempotent. */
  release(): void {
    this.#held?.release();
  }
}
