/** The HelloWorld of the former Java SDK: the same inputs, the same output. */
import { BaseTask, Input, Output, TaskType } from '@flowops/sdk';

@TaskType({ name: 'example.hello', version: '1.0.0', description: 'Says hello a number of times.' })
export default class Hello extends BaseTask {
  @Input({ type: 'integer', description: 'How often' })
  repeatCount!: number;

  @Input({ type: 'integer', description: 'Milliseconds before each hello' })
  delay = 0;

  @Output({ type: 'string', description: 'All the hellos' })
  message = '';

  async start() {
    const words: string[] = [];
    for (let count = 1; count <= this.repeatCount; count++) {
      await new Promise((resolve) => setTimeout(resolve, this.delay));
      words.push('Hello World');
      this.context.progress(count / this.repeatCount, `${count} of ${this.repeatCount}`);
    }
    this.message = words.join(' ');
    this.logger.info('said hello', { times: words.length });
  }
}
