/**
 * One network path between a process and a server, and the connection on it: what is sent arrives later, in order, or,
 * once the path is cut, not at all; of what was on its way when a connection broke, the first part may still arrive.
 *
 * A connection that broke is made again by the next call. The caller of a call that got no answer never learns whether
 * it had its effect.
 */
import type { SimProcess } from './process.ts';

/** No answer will come: the call may have had its effect. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

export interface WireOptions {
  readonly process: SimProcess;
  /** For the trace. */
  readonly name: string;
  /** Whether the server is there and the network between is whole. */
  readonly isServerUp: () => boolean;
  /** One way, ms. */
  readonly delayMs: () => number;
  /** The process notices that its connection has ended. */
  readonly onBroken?: () => void;
  /** A call without an answer for this long is given up and its connection broken. */
  readonly timeoutMs: number;
}

interface Connection {
  isBroken: boolean;
  /** When the last thing sent arrives, each way: what is sent later arrives later. */
  thereMs: number;
  backMs: number;
  /** What was sent before this moment arrives although the connection broke. */
  arrivesUntilMs: number;
  readonly giveUp: Set<(why: string) => void>;
}

export class Wire {
  readonly #options: WireOptions;
  #connection: Connection | undefined;

  constructor(options: WireOptions) {
    this.#options = options;
    options.process.onDeath(() => this.breakDown('its process died'));
  }

  /** The connection ends. Of what is on its way there, a first part may still arrive. */
  breakDown(why: string): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#connection = undefined;
    connection.isBroken = true;
    const { world } = this.#options.process;
    const left = connection.thereMs - world.nowMs;
    if (left > 0 && world.chance.happens(0.5)) {
      connection.arrivesUntilMs = world.nowMs + left * world.chance.next();
    }
    for (const giveUp of [...connection.giveUp]) giveUp(why);
    const { process, delayMs, onBroken } = this.#options;
    if (onBroken !== undefined) world.at(delayMs(), () => process.enter(onBroken));
  }

  /** Does `work` at the server. @throws Unreachable, and what `work` throws */
  call<Result>(what: string, work: () => Result): Promise<Result> {
    return this.ask(what, (reply) => reply(work()));
  }

  /** The same for a server that answers later. */
  ask<Result>(
    what: string,
    work: (reply: (result: Result) => void) => void,
    timeoutMs = this.#options.timeoutMs,
  ): Promise<Result> {
    const { process, name, isServerUp, delayMs } = this.#options;
    const { world } = process;
    const left = process.leave();
    if (left === 'no') return new Promise(() => undefined);
    return new Promise((resolve, reject) => {
      const connection = this.#connect();
      const settle = (act: () => void) => {
        connection.giveUp.delete(giveUp);
        timeout.cancel();
        process.enter(() => {
          if (left === 'once') process.kill();
          else act();
        });
      };
      const giveUp = (why: string) => {
        world.at(delayMs(), () => settle(() => reject(new Unreachable(`${name}: ${why}`))));
      };
      const breakThis = (why: string) => {
        if (this.#connection === connection) this.breakDown(why);
      };
      const timeout = process.after(timeoutMs, () => breakThis('no answer in time'));
      connection.giveUp.add(giveUp);
      connection.thereMs = Math.max(connection.thereMs, world.nowMs + delayMs());
      if (!isServerUp()) {
        // Refused at once, or silence until the time is over.
        if (world.chance.happens(0.7)) world.at(delayMs(), () => breakThis('cannot be reached'));
        return;
      }
      const sentMs = connection.thereMs;
      const reply = (result: Result) => {
        if (connection.isBroken) return;
        connection.backMs = Math.max(connection.backMs, world.nowMs + delayMs());
        world.at(connection.backMs - world.nowMs, () => {
          if (!connection.isBroken) settle(() => resolve(result));
        });
      };
      world.at(sentMs - world.nowMs, () => {
        if ((connection.isBroken && sentMs > connection.arrivesUntilMs) || !isServerUp()) return;
        world.tell(process.name, `${name} ${what}`);
        work(reply);
      });
    });
  }

  /** Something that the server sends by itself; lost when there is no connection. */
  push(deliver: () => void): void {
    const { process, delayMs, isServerUp } = this.#options;
    const connection = this.#connection;
    if (connection === undefined || !isServerUp()) return;
    connection.backMs = Math.max(connection.backMs, process.world.nowMs + delayMs());
    process.world.at(connection.backMs - process.world.nowMs, () => {
      if (!connection.isBroken) process.enter(deliver);
    });
  }

  #connect(): Connection {
    this.#connection ??= { isBroken: false, thereMs: 0, backMs: 0, arrivesUntilMs: -1, giveUp: new Set() };
    return this.#connection;
  }
}
