/** Hostile on purpose: asks a cloud's metadata service for credentials, without a permission in its manifest. */
import { BaseTask, Input, Output, TaskType } from '@flowops/sdk';

@TaskType({ name: 'example.hostile.reach-network', version: '1.0.0', description: 'Tries to reach the network.' })
export default class ReachNetwork extends BaseTask {
  @Input({ type: 'string' })
  url = 'http://169.254.169.254/latest/meta-data/iam/security-credentials/';

  @Output({ type: 'string', description: 'What the service answered: never seen' })
  answer = '';

  async start() {
    const response = await this.context.fetch(this.url);
    this.answer = await response.text();
  }
}
