/**
 * The schema of a flow file as JSON Schema, for editors (`plugin new`, docs/schemas/flow.json). What words mean together
 * (references, cycles, plugins) is not in it: `flowops validate` is the judge.
 */
import { z } from 'zod';
import { flowFileSchema, stepSchema } from './flow.ts';

/** Text of the file, with a final line feed. */
export function flowJsonSchema(): string {
  const steps = z.array(z.strictObject(stepSchema.shape)).min(1);
  const schema = z.toJSONSchema(z.strictObject({ ...flowFileSchema.shape, steps }), { io: 'input' });
  return `${JSON.stringify({ title: 'FlowOps flow', ...schema }, null, 2)}\n`;
}
