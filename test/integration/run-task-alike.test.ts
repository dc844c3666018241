/** A task ends in a test as it ends in the sandbox: the same status, code, outputs and lines. The words may differ. */
import { fileURLToPath } from 'node:url';
import { fitInputs } from '@flowops/proto/fit-inputs.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import { buildPlugin } from '@flowops/sdk/build/build-plugin.ts';
import { runTask } from '@flowops/sdk/testing.ts';
import { expect, it } from 'vitest';
import task, { CASE_NAMES } from '../fixtures/sdk/many-ends.ts';
import { developerHost, runBuilt } from '../support/developer-host.ts';

const SOURCE = fileURLToPath(new URL('../fixtures/sdk/many-ends.ts', import.meta.url));
const sandbox = developerHost();

/** As an engine or `sandbox run` does it: inputs that do not fit never reach the sandbox. */
async function inSandbox(inputs: JsonObject) {
  const built = await buildPlugin(SOURCE, { sandbox });
  if (!built.ok) throw new Error(built.message);
  const fitted = fitInputs(inputs, built.manifest.inputs, 'plugin');
  if (!fitted.ok) return { status: 'FAILED', code: 'INPUT_INVALID', outputs: {}, lines: [] };
  const { host } = await sandbox();
  const { outcome, logs } = await runBuilt(host, built, fitted.inputs);
  const isCompleted = outcome.status === 'COMPLETED';
  return {
    status: outcome.status,
    code: outcome.status === 'FAILED' ? outcome.code : null,
    outputs: isCompleted ? JSON.parse(outcome.outputsJson) : {},
    lines: logs.map(({ level, message, fields }) => ({ level, message, fields })),
  };
}

async function inTest(inputs: JsonObject) {
  const { status, code, outputs, logs } = await runTask(task, { inputs, fetch: () => new Response('') });
  return { status, code, outputs, lines: logs.map(({ level, message, fields }) => ({ level, message, fields })) };
}

it.each(CASE_NAMES)('%s', async (end) => {
  expect(await inTest({ end })).toEqual(await inSandbox({ end }));
});

it.each<JsonObject>([
  {},
  { end: 'a value', whole: '3', on: 'true', data: '{"a":[1]}' },
  { end: 'a value', whole: 3.5 },
  { end: 'a value', whole: 'three' },
  { end: 'a value', on: 1 },
  { end: 5, data: 'no JSON' },
  { end: 'a value', other: 1 },
  { end: null },
])('inputs %j', async (inputs) => {
  expect(await inTest(inputs)).toEqual(await inSandbox(inputs));
});
