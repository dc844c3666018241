/** The class that a task extends. It holds what the sandbox gives a step and names what the sandbox may call. */
import type { Logger, TaskContext } from './context.ts';

/**
 * What the sandbox hands to the constructor, so that field initialisers can already use it.
 *
 * @example
 * class Mine extends BaseTask {
 *   constructor(init?: TaskInit) { super(init); }
 *   start() {}
 * }
 */
export interface TaskInit {
  readonly logger: Logger;
  readonly context: TaskContext;
}

/**
 * A task as a class: fields with `@Input` and `@Output`, and the work in `start()`.
 *
 * @example
 * class Wait extends BaseTask {
 *   async start() {
 *     await new Promise((resolve) => this.context.signal.addEventListener('abort', resolve));
 *   }
 *   override stop() { this.logger.info('stopped: clean up here'); }
 * }
 */
export abstract class BaseTask {
  /** Lines for the run's log. */
  declare readonly logger: Logger;
  /** The step's signal, host calls, progress, idempotency key and attempt. */
  declare readonly context: TaskContext;

  /** Called by the sandbox only. A constructor of your own that passes nothing on is fine. */
  constructor(init?: TaskInit) {
    if (init === undefined) return;
    Object.defineProperty(this, 'logger', { value: init.logger, configurable: true, writable: true });
    Object.defineProperty(this, 'context', { value: init.context, configurable: true, writable: true });
  }

  /** The work. Inputs are set before, outputs are read when it has ended. Throwing fails the attempt (see TaskError). */
  abstract start(): Promise<void> | void;
  /** The run was stopped: clean up and let `start()` end. After a grace the step is killed. */
  stop?(): Promise<void> | void;
  /** The run was paused. Advice only: a step may go on. */
  pause?(): Promise<void> | void;
  /** The run goes on after a pause. */
  resume?(): Promise<void> | void;
}
