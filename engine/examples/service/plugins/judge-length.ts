/** Says what a number of words is called. */
import { defineTask } from '@flowops/sdk';

export default defineTask({
  name: 'example.judge-length',
  version: '1.0.0',
  description: 'Says what a number of words is called.',
  inputs: { words: { type: 'integer', description: 'How many there are' } },
  outputs: { verdict: { type: 'string', description: 'a note, a letter or a novel' } },
  async run({ inputs }) {
    if (inputs.words < 5) return { verdict: 'a note' };
    return { verdict: inputs.words < 50 ? 'a letter' : 'a novel' };
  },
});
