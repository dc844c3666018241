import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseFlowFile, parseSteps } from '@flowops/proto/flow.ts';
import type { Json } from '@flowops/proto/json.ts';
import { isAuthors, sourcePlaces } from '@flowops/proto/source-map.ts';
import { buildPlugin } from '@flowops/sdk/build/build-plugin.ts';
import type { BuiltPlugin } from '@flowops/sdk/build/build-result.ts';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { developerHost, runBuilt } from '../support/developer-host.ts';

const EXAMPLES = fileURLToPath(new URL('../../sdk/examples/', import.meta.url));
const FOLDERS = readdirSync(EXAMPLES).filter((name) => /^\d\d-/.test(name));

const sandbox = developerHost();

async function build(name: string): Promise<BuiltPlugin> {
  const built = await buildPlugin(path.join(EXAMPLES, name), { sandbox });
  if (!built.ok) throw new Error(built.message);
  return built;
}

async function run(name: string, inputs: Record<string, Json>, requestedWallMs?: number) {
  const built = await build(name);
  const { host } = await sandbox();
  return { built, ...(await runBuilt(host, built, inputs, requestedWallMs)) };
}

async function outputsOf(name: string, inputs: Record<string, Json>): Promise<unknown> {
  const { outcome } = await run(name, inputs);
  expect(outcome).toMatchObject({ status: 'COMPLETED' });
  return outcome.status === 'COMPLETED' ? JSON.parse(outcome.outputsJson) : undefined;
}

describe('the examples', () => {
  it.each(FOLDERS)('%s has a README that shows how it is run', (name) => {
    expect(readFileSync(path.join(EXAMPLES, name, 'README.md'), 'utf8')).toContain(`sdk/examples/${name}`);
    expect(readFileSync(path.join(EXAMPLES, 'README.md'), 'utf8')).toContain(`[${name}](${name})`);
  });

  it('01 says hello as often as asked, and tells how far it is', async () => {
    const { outcome, logs } = await run('01-hello', { repeatCount: 3, delay: 1 });
    expect(outcome).toMatchObject({
      status: 'COMPLETED',
      outputsJson: '{"message":"Hello World Hello World Hello World"}',
    });
    expect(logs).toMatchObject([{ level: 'info', message: 'said hello', fields: { times: 3 } }]);
  });

  it('02 adds up an order, and gives up at once on data that is none', async () => {
    const lines = [
      { sku: 'tea', quantity: 2, price: 3.5 },
      { sku: 'cup', quantity: 1, price: 4 },
    ];
    expect(await outputsOf('02-transform', { lines, taxRate: 0.5, roundUp: true })).toEqual({
      total: 17,
      pieces: 3,
      bySku: { tea: 7, cup: 4 },
    });
    const { outcome } = await run('02-transform', { lines: { sku: 'tea' }, taxRate: 0, roundUp: false });
    expect(outcome).toMatchObject({ status: 'FAILED', code: 'PLUGIN_FATAL', message: 'lines must be a list' });
  });

  it('03 runs a package from npm inside the bundle', async () => {
    const text = 'server: { port: 8080 }';
    expect(await outputsOf('03-npm-package', { text, path: 'server.port' })).toEqual({ value: 8080 });
    expect(await outputsOf('03-npm-package', { text, path: 'server.host' })).toEqual({ value: null });
  });

  it('04 counts words as a function', async () => {
    expect(await outputsOf('04-function', { text: 'one three five', minLength: 4 })).toEqual({
      words: 2,
      longest: 'three',
    });
  });

  it('05 fails with frames that lead through its files to the line', async () => {
    const { outcome, built, logs } = await run('05-failure', {
      customer: { name: 'Ada', address: { street: 'Elm 1' } },
    });
    if (outcome.status !== 'FAILED') throw new Error(outcome.status);
    expect(outcome.code).toBe('PLUGIN_ERROR');
    expect(outcome.message).toContain("reading 'toUpperCase'");
    expect(logs).toMatchObject([{ message: 'printing a label' }]);
    const places = sourcePlaces(outcome.stack, built.sourceMap).filter(isAuthors);
    const readme = readFileSync(path.join(EXAMPLES, '05-failure/README.md'), 'utf8');
    for (const { source, line, column } of places) expect(readme).toContain(`${source}:${line}:${column}`);
    expect(places.map(({ source }) => source)).toEqual(['address.ts', 'address.ts', 'index.ts']);
  });

  it('06 and 07 stand for slow services, 08 joins what they gave', async () => {
    const orders = await outputsOf('06-fetch-orders', { region: 'north', delayMs: 10 });
    expect(orders).toMatchObject({
      count: 4,
      lines: [{ sku: 'tea' }, { sku: 'coffee' }, { sku: 'cocoa' }, { sku: 'sugar' }],
    });
    expect(await outputsOf('06-fetch-orders', { region: 'north', delayMs: 10 })).toEqual(orders);
    expect(await outputsOf('07-fetch-rate', { currency: 'USD', delayMs: 1 })).toEqual({ rate: 1.08 });
    const { outcome } = await run('07-fetch-rate', { currency: 'XXX', delayMs: 1 });
    expect(outcome).toMatchObject({ status: 'FAILED', code: 'PLUGIN_FATAL' });
    expect(await outputsOf('08-report', { title: 'T', amounts: { a: 1, b: 2 }, rate: 2, currency: 'USD' })).toEqual({
      text: 'T\n  b: 4.00 USD\n  a: 2.00 USD\n  together: 6.00 USD',
      total: 6,
    });
  });
});

describe('the hostile examples', () => {
  it('90 finds no way to a file', async () => {
    const { outcome } = await run('90-read-file', { path: '/etc/passwd' });
    expect(outcome).toMatchObject({ status: 'FAILED', code: 'PLUGIN_ERROR' });
    expect(outcome.status === 'FAILED' ? outcome.message : '').toMatch(
      /^no way to \/etc\/passwd\n {2}process: .*\n {2}require: .*\n/,
    );
    expect(JSON.stringify(outcome)).not.toContain('root:');
  });

  it('91 reaches no network', async () => {
    const { outcome } = await run('91-reach-network', { url: 'http://127.0.0.1:1/' });
    expect(outcome).toMatchObject({ status: 'FAILED', code: 'POLICY_DENIED' });
  });

  it('92 is ended at its limit, and the next step runs', async () => {
    const [{ outcome }, hello] = await Promise.all([
      run('92-loop-for-ever', {}, 1000),
      outputsOf('01-hello', { repeatCount: 1, delay: 1 }),
    ]);
    expect(outcome).toMatchObject({ status: 'FAILED', code: expect.stringMatching(/^LIMIT_(WALL|CPU)$/) });
    expect(hello).toEqual({ message: 'Hello World' });
  });
});

describe('the demo flow', () => {
  const text = readFileSync(path.join(EXAMPLES, 'demo-flow.yaml'), 'utf8');

  it('is a flow of parallel branches with both forms of references', () => {
    const parsed = parseFlowFile(parse(text));
    expect(parsed).toMatchObject({ ok: true });
    expect(text).toMatch(/: orders\.lines$/m);
    expect(text).toMatch(/\$\{report\.text\} \$\{hello\.message\}/);
    expect(text).toMatch(/\$\{flow\.input\.region\}/);
  });

  it('names plugins that are examples, and gives each input that it requires', async () => {
    const parsed = parseFlowFile(parse(text));
    if (!parsed.ok) throw new Error('the flow is good');
    const plugins = await Promise.all(FOLDERS.map(build));
    const manifests = new Map(plugins.map(({ manifest }) => [manifest.name, manifest]));
    const written = parseSteps(parsed.flow.steps);
    if (!written.ok) throw new Error('its steps are good');
    expect(written.steps.length).toBeGreaterThanOrEqual(5);
    for (const step of written.steps) {
      const manifest = manifests.get(step.pluginId ?? '');
      expect(manifest, step.pluginId).toBeDefined();
      for (const [input, { required }] of Object.entries(manifest?.inputs ?? {})) {
        if (required) expect(Object.keys(step.inputs), step.stepId).toContain(input);
      }
      for (const input of Object.keys(step.inputs)) expect(Object.keys(manifest?.inputs ?? {})).toContain(input);
    }
  });
});
