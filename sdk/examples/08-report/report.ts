/** Where branches meet: an aggregation over what the steps before gave. */
import { BaseTask, Input, Output, TaskType } from '@flowops/sdk';

@TaskType({ name: 'example.report', version: '1.0.0', description: 'A short report from several results.' })
export default class Report extends BaseTask {
  @Input({ type: 'string' })
  title!: string;

  @Input({ type: 'json', description: 'Amounts in euro by name' })
  amounts!: Record<string, number>;

  @Input({ type: 'float', description: 'What one euro is in the currency of the report' })
  rate = 1;

  @Input({ type: 'string' })
  currency = 'EUR';

  @Output({ type: 'string' })
  text = '';

  @Output({ type: 'float' })
  total = 0;

  start() {
    const rows = Object.entries(this.amounts).map(([name, amount]) => [name, amount * this.rate] as const);
    rows.sort((a, b) => b[1] - a[1]);
    this.total = Number(rows.reduce((sum, [, amount]) => sum + amount, 0).toFixed(2));
    this.text = [
      this.title,
      ...rows.map(([name, amount]) => `  ${name}: ${amount.toFixed(2)} ${this.currency}`),
      `  together: ${this.total.toFixed(2)} ${this.currency}`,
    ].join('\n');
  }
}
