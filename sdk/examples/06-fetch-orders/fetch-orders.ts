/** Stands for a slow service: after a while it gives the orders of a region. Same region, same orders. */
import { BaseTask, Input, Output, TaskType } from '@flowops/sdk';

const ARTICLES = ['tea', 'coffee', 'cocoa', 'sugar'];
const STEPS = 10;

@TaskType({ name: 'example.fetch-orders', version: '1.0.0', description: 'The orders of a region, after a delay.' })
export default class FetchOrders extends BaseTask {
  @Input({ type: 'string' })
  region!: string;

  @Input({ type: 'integer', description: 'How long the service takes' })
  delayMs = 400;

  @Output({ type: 'json', description: 'A list of { sku, quantity, price }' })
  lines: { sku: string; quantity: number; price: number }[] = [];

  @Output({ type: 'integer' })
  count = 0;

  async start() {
    for (let step = 1; step <= STEPS; step++) {
      await new Promise((resolve) => setTimeout(resolve, this.delayMs / STEPS));
      this.context.progress(step / STEPS);
    }
    const seed = [...this.region].reduce((sum, letter) => sum + (letter.codePointAt(0) ?? 0), 0);
    this.lines = ARTICLES.map((sku, index) => ({ sku, quantity: 1 + ((seed + index) % 5), price: 2.5 + index }));
    this.count = this.lines.length;
    this.logger.info('fetched orders', { region: this.region, lines: this.count });
  }
}
