/**
 * The policy's schema as JSON Schema, for editors (`flowops policy schema`, docs/schemas/policy.json). What keys mean
 * together is not in it: `flowops policy check` is the judge.
 */
import { z } from 'zod';
import { policySchema } from './schema.ts';

/** Text of the file, with a final line feed. */
export function policyJsonSchema(): string {
  const schema = z.toJSONSchema(policySchema, { io: 'input' });
  return `${JSON.stringify({ title: 'FlowOps sandbox policy', ...schema }, null, 2)}\n`;
}
