/** The same kind of plugin as a function: types are inferred from the declaration, there is no class. */
import { defineTask } from '@flowops/sdk';

export default defineTask({
  name: 'example.word-count',
  version: '1.0.0',
  description: 'Counts words.',
  inputs: {
    text: { type: 'string', description: 'Any text' },
    minLength: { type: 'integer', default: 1, description: 'Shorter words do not count' },
  },
  outputs: {
    words: { type: 'integer', description: 'How many' },
    longest: { type: 'string', description: 'The first of the longest ones' },
  },
  run({ inputs, logger }) {
    const words = inputs.text.split(/\s+/).filter((word) => word.length >= Math.max(1, inputs.minLength));
    const longest = words.reduce((best, word) => (word.length > best.length ? word : best), '');
    logger.debug('counted', { words: words.length });
    return { words: words.length, longest };
  },
});
