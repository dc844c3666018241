/** Counts the words of a text, one by one, so that there is something to watch. */
import { defineTask } from '@flowops/sdk';

export default defineTask({
  name: 'example.count-words',
  version: '1.0.0',
  description: 'Counts the words of a text.',
  inputs: {
    text: { type: 'string', description: 'The text' },
    delay: { type: 'integer', default: 0, description: 'Milliseconds for each word' },
  },
  outputs: { words: { type: 'integer', description: 'How many there are' } },
  async run({ inputs, logger, context }) {
    const words = inputs.text.split(/\s+/).filter((word) => word !== '');
    for (const [index, word] of words.entries()) {
      await new Promise((resolve) => setTimeout(resolve, inputs.delay));
      context.progress((index + 1) / words.length, word);
    }
    logger.info('counted', { words: words.length });
    return { words: words.length };
  },
});
