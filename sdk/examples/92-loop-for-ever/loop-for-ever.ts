/** Hostile on purpose: never gives the thread back, so no timer of its own process could stop it. */
import { BaseTask, Output, TaskType } from '@flowops/sdk';

@TaskType({ name: 'example.hostile.loop-for-ever', version: '1.0.0', description: 'Never ends.' })
export default class LoopForEver extends BaseTask {
  @Output({ type: 'integer', description: 'Rounds: never told' })
  rounds = 0;

  start() {
    this.logger.info('here we go round');
    for (;;) this.rounds++;
  }
}
