/** A typed transform: JSON in, numbers out, and a clear error for data that does not fit. */
import { BaseTask, Input, Output, TaskError, TaskType } from '@flowops/sdk';

interface OrderLine {
  readonly sku: string;
  readonly quantity: number;
  readonly price: number;
}

@TaskType({ name: 'example.order-total', version: '1.0.0', description: 'Adds up the lines of an order.' })
export default class OrderTotal extends BaseTask {
  @Input({ type: 'json', description: 'A list of { sku, quantity, price }' })
  lines!: unknown;

  @Input({ type: 'float', description: 'Share added to the sum: 0.2 is 20 %' })
  taxRate = 0;

  @Input({ type: 'boolean', description: 'Round the total up to whole units' })
  roundUp = false;

  @Output({ type: 'float', description: 'Sum with tax' })
  total = 0;

  @Output({ type: 'integer', description: 'Pieces in all lines' })
  pieces = 0;

  @Output({ type: 'json', description: 'Sum without tax by sku' })
  bySku: Record<string, number> = {};

  start() {
    for (const line of readLines(this.lines)) {
      const sum = line.quantity * line.price;
      this.pieces += line.quantity;
      this.bySku[line.sku] = (this.bySku[line.sku] ?? 0) + sum;
      this.total += sum;
    }
    this.total *= 1 + this.taxRate;
    if (this.roundUp) this.total = Math.ceil(this.total);
  }
}

/** `json` is any JSON: what a task needs of it is checked here, and wrong data is not tried again. */
function readLines(value: unknown): OrderLine[] {
  if (!Array.isArray(value)) throw wrongData('lines must be a list');
  return value.map((line: unknown, index) => {
    if (!isOrderLine(line)) throw wrongData(`lines[${index}] must be { sku, quantity, price }`);
    return line;
  });
}

function isOrderLine(value: unknown): value is OrderLine {
  if (typeof value !== 'object' || value === null) return false;
  const { sku, quantity, price } = value as Partial<Record<keyof OrderLine, unknown>>;
  return typeof sku === 'string' && Number.isInteger(quantity) && typeof price === 'number';
}

function wrongData(message: string): TaskError {
  return new TaskError(message, { retryable: false });
}
