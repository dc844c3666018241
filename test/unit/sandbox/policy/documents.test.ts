/** The manual and the JSON Schemas say what the code does. Written anew with `npx vitest run FILE --update`. */
import { readFileSync } from 'node:fs';
import {
  doctorReportSchema,
  policyCheckReportSchema,
  policyDemotionsReportSchema,
  policyDiffReportSchema,
  policyExplainReportSchema,
  policyPinsReportSchema,
  runReportSchema,
} from '@flowops/sandbox/cli/reports.ts';
import { DEFAULT_CONCURRENT, DEFAULT_LIMITS } from '@flowops/sandbox/policy/default-limits.ts';
import { policyJsonSchema } from '@flowops/sandbox/policy/json-schema.ts';
import { LIMIT_BOUNDS, LIMIT_NAMES, policySchema } from '@flowops/sandbox/policy/schema.ts';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { KEY_A, policyOf, problemsOfText, request, warningsOf } from './policy-text.ts';

const SCHEMAS = new URL('../../../../docs/schemas/', import.meta.url).pathname;
const manual = readFileSync(new URL('../../../../docs/policy.md', import.meta.url), 'utf8');
const examples = [...manual.matchAll(/```yaml\n(.*?)```/gs)].map(([, text = '']) => text);

const PUBLISHERS = `publishers: { acme: { keys: [{ key: "${KEY_A}" }], names: ["acme.*"] } }\n`;
const KEYS = keysOf(z.toJSONSchema(policySchema, { io: 'input' }));

function keysOf(schema: unknown, keys = new Set<string>()): Set<string> {
  if (typeof schema !== 'object' || schema === null) return keys;
  if ('properties' in schema && typeof schema.properties === 'object' && schema.properties !== null) {
    for (const key of Object.keys(schema.properties)) keys.add(key);
  }
  for (const inner of Object.values(schema)) keysOf(inner, keys);
  return keys;
}

/** Text without its line breaks. */
function words(text: string): string {
  return text.replace(/\s+/g, ' ');
}

test('the schema of policies in the docs is the one in force', async () => {
  await expect(policyJsonSchema()).toMatchFileSnapshot(`${SCHEMAS}policy.json`);
});

test.each([
  ['sandbox run', 'sandbox-run', runReportSchema],
  ['sandbox doctor', 'sandbox-doctor', doctorReportSchema],
  ['policy check', 'policy-check', policyCheckReportSchema],
  ['policy explain', 'policy-explain', policyExplainReportSchema],
  ['policy diff', 'policy-diff', policyDiffReportSchema],
  ['policy demotions', 'policy-demotions', policyDemotionsReportSchema],
  ['policy pins', 'policy-pins', policyPinsReportSchema],
])('the schema of `%s --json` in the docs is the one in force', async (command, file, report) => {
  const schema = { title: `flowops ${command} --json`, ...z.toJSONSchema(report) };
  await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(`${SCHEMAS}${file}.json`);
});

describe('the manual', () => {
  test('has examples that load, each whole or as rules of a policy', () => {
    expect(examples.length).toBeGreaterThan(5);
    for (const example of examples) {
      const whole = /^version: 1$/m.test(example) ? example : `version: 1\n${PUBLISHERS}${example}`;
      expect({ example, problems: problemsOfText(whole) }).toEqual({ example, problems: [] });
      expect({ example, warnings: warningsOf(whole) }).toEqual({ example, warnings: [] });
    }
  });

  test('uses every key of the schema in its examples', () => {
    const used = new Set(examples.flatMap((example) => [...example.matchAll(/[A-Za-z]+(?=:(?:\s|$))/gm)].map(String)));
    expect([...KEYS].filter((key) => !used.has(key))).toEqual([]);
  });

  test('quotes refusals and problems as the policy tells them', () => {
    const example = examples[0] ?? '';
    const policy = policyOf(example);
    const asks = { net: ['slack.com:443'], secrets: [] };
    const refused = [
      policy.decide(request({ name: 'acme.slack', version: '1.4.0', publisher: 'acme', permissions: asks })),
      policy.decide(request({ name: 'legacy.mail' })),
      policy.decide(request({ pluginId: 'chat', name: 'acme.evil', history: { agreedName: 'acme.chat' } })),
    ];
    for (const decision of refused)
      expect(words(manual)).toContain(decision.kind === 'refuse' ? words(decision.message) : '');
    const mistake = example.replace('memoryMb: 64', 'memoryMB: 64');
    expect(words(manual)).toContain(words(problemsOfText(mistake)[0] ?? 'a problem'));
  });

  test('names every limit with its default, least and most', () => {
    for (const name of LIMIT_NAMES) {
      const { min, max } = LIMIT_BOUNDS[name];
      expect(manual).toContain(`| \`${name}\` | ${DEFAULT_LIMITS[name]} | ${min} | ${max} |`);
    }
    expect(manual).toContain(`\`concurrent\` (${DEFAULT_CONCURRENT})`);
  });

  test('names every key of the schema', () => {
    expect(KEYS.size).toBeGreaterThan(30);
    expect([...KEYS].filter((key) => !new RegExp(`\\b${key}\\b`).test(manual))).toEqual([]);
  });

  test('names every command of the policy', () => {
    for (const command of ['check', 'explain', 'diff', 'schema', 'demotions --lift', 'pins --agree']) {
      expect(manual).toContain(`flowops policy ${command}`);
    }
  });
});
