/** The schema of a flow file, for editors. */
import { flowJsonSchema } from '@flowops/proto/flow-json-schema.ts';
import { expect, test } from 'vitest';

const FILE = new URL('../../../docs/schemas/flow.json', import.meta.url).pathname;

test('the schema of flows in the docs is the one in force', async () => {
  await expect(flowJsonSchema()).toMatchFileSnapshot(FILE);
});
