/** The manual and the JSON Schemas say what the code does. Written anew with `npx vitest run FILE --update`. */
import { readFileSync } from 'node:fs';
import { doctorReportSchema, policyCheckReportSchema, policyExplainReportSchema, runReportSchema } from '@flowops/sandbox/cli/reports.ts';
import { DEFAULT_CONCURRENT, DEFAULT_LIMITS } from '@flowops/sandbox/policy/default-limits.ts';
import { policyJsonSchema } from '@flowops/sandbox/policy/json-schema.ts';
import { LIMIT_BOUNDS, LIMIT_NAMES, policySchema } from '@flowops/sandbox/policy/schema.ts';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { problemsOfText } from './policy-text.ts';

const SCHEMAS = new URL('../../../../docs/schemas/', import.meta.url).pathname;
const manual = readFileSync(new URL('../../../../docs/policy.md', import.meta.url), 'utf8');
const examples = [...manual.matchAll(/```yaml\n(.*?)```/gs)].map(([, text = '']) => text);

test('the schema of policies in the docs is the one in force', async () => {
  await expect(policyJsonSchema()).toMatchFileSnapshot(`${SCHEMAS}policy.json`);
});

test.each([
  ['sandbox run', 'sandbox-run', runReportSchema],
  ['sandbox doctor', 'sandbox-doctor', doctorReportSchema],
  ['policy check', 'policy-check', policyCheckReportSchema],
  ['policy explain', 'policy-explain', policyExplainReportSchema],
])('the schema of `%s --json` in the docs is the one in force', async (command, file, report) => {
  const schema = { title: `flowops ${command} --json`, ...z.toJSONSchema(report) };
  await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(`${SCHEMAS}${file}.json`);
});

describe('the manual', () => {
  test('begins with an example that loads', () => {
    expect(examples.length).toBeGreaterThan(0);
    expect(problemsOfText(examples[0] ?? '')).toEqual([]);
  });

  test('names every limit with its default, least and most', () => {
    for (const name of LIMIT_NAMES) {
      const { min, max } = LIMIT_BOUNDS[name];
      expect(manual).toContain(`| \`${name}\` | ${DEFAULT_LIMITS[name]} | ${min} | ${max} |`);
    }
    expect(manual).toContain(`\`concurrent\` (${DEFAULT_CONCURRENT})`);
  });

  test('names every key of the schema', () => {
    const keys = new Set<string>();
    const collect = (schema: unknown): void => {
      if (typeof schema !== 'object' || schema === null) return;
      if ('properties' in schema && typeof schema.properties === 'object' && schema.properties !== null) {
        for (const key of Object.keys(schema.properties)) keys.add(key);
      }
      for (const inner of Object.values(schema)) collect(inner);
    };
    collect(z.toJSONSchema(policySchema, { io: 'input' }));
    expect(keys.size).toBeGreaterThan(30);
    expect([...keys].filter((key) => !new RegExp(`\\b${key}\\b`).test(manual))).toEqual([]);
  });
});
