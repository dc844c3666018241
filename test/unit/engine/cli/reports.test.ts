/** The JSON Schemas in the docs say what the commands print. Written anew with `npx vitest run FILE --update`. */
import {
  backupReportSchema,
  configReportSchema,
  runLineSchema,
  validateReportSchema,
} from '@flowops/engine/cli/reports.ts';
import { expect, test } from 'vitest';
import { z } from 'zod';

const SCHEMAS = new URL('../../../../docs/schemas/', import.meta.url).pathname;

test.each([
  ['run', 'run', runLineSchema],
  ['validate', 'validate', validateReportSchema],
  ['config', 'config', configReportSchema],
  ['backup', 'backup', backupReportSchema],
])('the schema of `flowops %s --json` in the docs is the one in force', async (command, file, report) => {
  const schema = { title: `flowops ${command} --json`, ...z.toJSONSchema(report) };
  await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(`${SCHEMAS}${file}.json`);
});
