/** The JSON Schemas in the docs say what the commands print. Written anew with `npx vitest run FILE --update`. */
import {
  buildReportSchema,
  inspectReportSchema,
  newKeyReportSchema,
  publishReportSchema,
  signReportSchema,
  withdrawReportSchema,
} from '@flowops/sdk/cli/reports.ts';
import { expect, test } from 'vitest';
import { z } from 'zod';

const SCHEMAS = new URL('../../../../docs/schemas/', import.meta.url).pathname;

test.each([
  ['plugin build', 'plugin-build', buildReportSchema],
  ['plugin inspect', 'plugin-inspect', inspectReportSchema],
  ['plugin publish', 'plugin-publish', publishReportSchema],
  ['plugin withdraw', 'plugin-withdraw', withdrawReportSchema],
  ['plugin sign', 'plugin-sign', signReportSchema],
  ['keys new', 'keys-new', newKeyReportSchema],
])('the schema of `%s --json` in the docs is the one in force', async (command, file, report) => {
  // A refinement in code (an id's form) has no word in JSON Schema; the base type is told.
  const schema = { title: `flowops ${command} --json`, ...z.toJSONSchema(report) };
  await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(`${SCHEMAS}${file}.json`);
});
