/** Stands for a second slow service beside the first: the exchange rate of a currency. */
import { defineTask, TaskError } from '@flowops/sdk';

const RATES: ReadonlyMap<string, number> = new Map([
  ['EUR', 1],
  ['USD', 1.08],
  ['CHF', 0.96],
]);

export default defineTask({
  name: 'example.fetch-rate',
  version: '1.0.0',
  description: 'How much of a currency one euro is, after a delay.',
  inputs: {
    currency: { type: 'string', default: 'EUR' },
    delayMs: { type: 'integer', default: 250, description: 'How long the service takes' },
  },
  outputs: { rate: { type: 'float' } },
  async run({ inputs }) {
    await new Promise((resolve) => setTimeout(resolve, inputs.delayMs));
    const rate = RATES.get(inputs.currency);
    if (rate === undefined) {
      throw new TaskError(`no rate for ${inputs.currency}; there are ${[...RATES.keys()].join(', ')}`, {
        retryable: false,
      });
    }
    return { rate };
  },
});
