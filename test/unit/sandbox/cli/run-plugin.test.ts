/** `sandbox run` from a bundle to a report, against a hand-written sandbox host. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AttemptOutcome } from '@flowops/proto/attempt.ts';
import { runReportSchema } from '@flowops/sandbox/cli/reports.ts';
import { type RanPlugin, runPlugin } from '@flowops/sandbox/cli/run-plugin.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RECEIPT, type Script, type ScriptedHost, scriptedHost, writeBundle } from './plugin-bundle.ts';

const COMPLETED: AttemptOutcome = { status: 'COMPLETED', outputsJson: '{"message":"hi"}', receipt: RECEIPT };
const INPUTS = { name: { type: 'string', required: true } } as const;

let folder: string;
let stop: AbortController;
let seen: string[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'run-plugin-'));
  stop = new AbortController();
  seen = [];
});
afterEach(() => rm(folder, { recursive: true }));

interface Given {
  readonly plugin: string;
  readonly host?: ScriptedHost;
  readonly inputs?: Record<string, string>;
  readonly tier?: 'isolate' | 'container';
}

async function run({ plugin, host = scriptedHost(() => COMPLETED), inputs = {}, tier }: Given): Promise<RanPlugin> {
  const ran = await runPlugin(
    { plugin, inputs, tier, cacheDir: join(folder, 'cache'), stopGraceMs: 123 },
    {
      sandbox: async () => ({ ok: true, host }),
      stop: stop.signal,
      onPlugin: ({ manifest }) => seen.push(`plugin ${manifest.name}`),
      onLog: ({ message }) => seen.push(`log ${message}`),
      onProgress: ({ fraction }) => seen.push(`progress ${fraction}`),
    },
  );
  expect(runReportSchema.parse(JSON.parse(JSON.stringify(ran.report)))).toEqual(ran.report);
  return ran;
}

const hostOf = (script: Script) => scriptedHost(script);

test('a bundle runs as one attempt, and what it logs comes as it happens and once more in the report', async () => {
  const host = hostOf((listener) => {
    listener.onStarted?.();
    listener.onLog?.({ timeMs: 1, level: 'info', message: 'one', fields: { a: 1 } });
    listener.onProgress?.({ fraction: 0.5, message: '' });
    return COMPLETED;
  });
  const plugin = await writeBundle(folder, { inputs: INPUTS });
  const { report } = await run({ plugin, host, inputs: { name: '7' }, tier: 'isolate' });
  expect(report).toEqual({
    status: 'COMPLETED',
    code: null,
    error: null,
    outputs: { message: 'hi' },
    logs: [{ time: '1970-01-01T00:00:00.001Z', level: 'info', message: 'one', fields: { a: 1 } }],
    receipt: RECEIPT,
  });
  expect(seen).toEqual(['plugin acme.hello', 'log one', 'progress 0.5']);
  const [request] = host.requests;
  expect(request).toMatchObject({
    purpose: 'run',
    attempt: 1,
    pluginId: 'acme.hello',
    pluginVersion: '1.2.3',
    inputsJson: '{"name":"7"}',
    requestedTier: 'isolate',
    token: expect.stringMatching(/^[0-9a-f]{32}$/),
  });
  const bundle = await request?.bundle();
  expect(bundle).toMatchObject({ ok: true, bundle: { digest: request?.digest } });
  expect(host.acknowledged()).toBe(1);
});

test('a failure keeps its code, its receipt and what was logged before', async () => {
  const host = hostOf((listener) => {
    listener.onLog?.({ timeMs: 1, level: 'error', message: 'oh' });
    return {
      status: 'FAILED',
      code: 'LIMIT_WALL',
      message: 'too slow',
      receipt: RECEIPT,
      stack: '    at f (bundle.js:2:1)',
      retryable: true,
      retryAfterMs: 0,
    };
  });
  const { report, frames } = await run({ plugin: await writeBundle(folder), host });
  expect(report).toMatchObject({ status: 'FAILED', code: 'LIMIT_WALL', error: 'too slow', receipt: RECEIPT });
  expect(report.logs).toHaveLength(1);
  expect(frames).toBe('    at f (bundle.js:2:1)');
});

test('inputs that do not fit fail before anything runs', async () => {
  const host = hostOf(() => expect.fail('nothing runs'));
  const { report } = await run({ plugin: await writeBundle(folder, { inputs: INPUTS }), host, inputs: { nmae: 'x' } });
  expect(report).toMatchObject({
    code: 'INPUT_INVALID',
    error:
      'the plugin has no input nmae; did you mean name?\ninput name (string) is required; give it with --input name=…',
    receipt: null,
  });
});

test.each([
  ['no file', 'gone.ts', undefined, 'PLUGIN_NOT_FOUND'],
  ['a broken manifest line', 'old.js', '//! flowops-plugin {"name":1}\n', 'PLUGIN_INVALID'],
])('%s is a failure with its code', async (_title, name, text, code) => {
  const plugin = join(folder, name);
  if (text !== undefined) await writeFile(plugin, text);
  expect((await run({ plugin })).report).toMatchObject({ status: 'FAILED', code, receipt: null });
});

test('a host that cannot be started, and one that goes away, are infrastructure', async () => {
  const plugin = await writeBundle(folder);
  const lost = await run({
    plugin,
    host: hostOf(() => ({ status: 'LOST', message: 'it died', aliveForMs: 0, hostEnded: true })),
  });
  expect(lost.report).toMatchObject({ code: 'SANDBOX_UNAVAILABLE', error: 'it died' });
  const ran = await runPlugin(
    { plugin, inputs: {}, tier: undefined, cacheDir: folder, stopGraceMs: 1 },
    {
      sandbox: async () => ({ ok: false, code: 'SANDBOX_UNAVAILABLE', message: 'no node' }),
      stop: stop.signal,
      onPlugin: () => {},
      onLog: () => {},
      onProgress: () => {},
    },
  );
  expect(ran.report).toMatchObject({ code: 'SANDBOX_UNAVAILABLE', error: 'no node' });
});

test('an interrupt stops the plugin with the grace it has, and tells that it was stopped', async () => {
  const host = hostOf(async (_listener, cancelled) => {
    stop.abort();
    await cancelled;
    return { status: 'CANCELLED', message: '', receipt: RECEIPT };
  });
  const { report } = await run({ plugin: await writeBundle(folder), host });
  expect(host.cancels).toEqual([{ graceMs: 123, reason: expect.any(String) }]);
  expect(report).toMatchObject({ status: 'FAILED', code: 'CANCELLED', error: 'stopped', receipt: RECEIPT });
});

test('an interrupt before the plugin starts starts nothing', async () => {
  stop.abort();
  const host = hostOf(() => expect.fail('nothing runs'));
  expect((await run({ plugin: await writeBundle(folder), host })).report.code).toBe('CANCELLED');
});
