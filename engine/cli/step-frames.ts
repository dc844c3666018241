/** Where the steps of a run failed, shown as it is found out: that takes a look into files. */
import type { StepError } from '../embedded/api.ts';
import type { RunView } from './run-view.ts';

/** A flow of thousands of failing steps: nobody reads the places of all of them. */
const MAX_SHOWN = 100;

export class StepFrames {
  readonly #view: Pick<RunView, 'stepFrames'>;
  readonly #shown: Promise<void>[] = [];

  constructor(view: Pick<RunView, 'stepFrames'>) {
    this.#view = view;
  }

  show({ stepId, frames }: Pick<StepError, 'stepId' | 'frames'>): void {
    if (this.#shown.length >= MAX_SHOWN) return;
    this.#shown.push(frames().then((text) => this.#view.stepFrames(stepId, text)));
  }

  /** Resolves when all that was asked for is on the screen. */
  async shown(): Promise<void> {
    await Promise.all(this.#shown);
  }
}
