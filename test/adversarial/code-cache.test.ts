/**
 * Case 64: a worker that sends back a false code cache. V8 would run it in place of the plugin, in every later worker of
 * the domain; so only what a worker made before any step was sent to it is kept.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AttemptRequest } from '../../proto/attempt.ts';
import { digestOf } from '../../proto/ids.ts';
import { openScriptedHost, runStep, type ScriptedHost, stepOf } from '../fixtures/sandbox/scripted-host.ts';

const isLinux = process.platform === 'linux';
const HONEST = 'made before any step';
let scripted: ScriptedHost;

beforeAll(async () => {
  scripted = await openScriptedHost();
});
afterAll(async () => {
  await scripted.close();
});

/** A step of a bundle that is large enough for a code cache. */
function largeStep(what: string, plugin: string): AttemptRequest {
  const line = `//! flowops-plugin ${JSON.stringify({ name: plugin, version: '1.0.0' })}\n`;
  const bytes = Buffer.from(`${line}${' '.repeat(100_000)}`);
  const digest = digestOf(bytes);
  return stepOf(what, { digest, bundle: async () => ({ ok: true, bundle: { digest, bytes } }) }, plugin);
}

async function told(plugin: string): Promise<unknown> {
  const outcome = await runStep(scripted.host, largeStep('tell-code-cache', plugin));
  if (outcome.status !== 'COMPLETED') throw new Error(JSON.stringify(outcome));
  return JSON.parse(outcome.outputsJson);
}

describe.runIf(isLinux)('a worker that ran a step', () => {
  it('cannot replace a code cache: it is ended, and the next one gets the honest one', async () => {
    expect(await runStep(scripted.host, largeStep('complete', 'cached'))).toMatchObject({ status: 'COMPLETED' });
    const lie = await runStep(scripted.host, largeStep('false-code-cache', 'cached'));
    expect(lie).toMatchObject({ status: 'FAILED', code: 'SANDBOX_CRASHED' });
    expect(await told('cached')).toMatchObject({ codeCache: HONEST });
  });

  it('cannot bring one in for a bundle that has none, nor after it was ended for that', async () => {
    const small = await runStep(scripted.host, stepOf('false-code-cache', {}, 'uncached'));
    expect(small).toMatchObject({ status: 'FAILED', code: 'SANDBOX_CRASHED' });
    const next = await runStep(scripted.host, stepOf('tell-code-cache', {}, 'uncached'));
    if (next.status !== 'COMPLETED') throw new Error(JSON.stringify(next));
    expect(JSON.parse(next.outputsJson)).toMatchObject({ codeCache: '' });
  });

  it('leaves what it made to its own trust domain', async () => {
    await runStep(scripted.host, largeStep('complete', 'mine'));
    await runStep(scripted.host, largeStep('crash', 'mine'));
    expect(await told('mine')).toMatchObject({ codeCache: HONEST });
    // The same bytes under another pluginId are another domain: its first worker is asked anew.
    const other = { ...largeStep('tell-code-cache', 'mine'), pluginId: 'theirs' };
    const outcome = await runStep(scripted.host, other);
    if (outcome.status !== 'COMPLETED') throw new Error(JSON.stringify(outcome));
    expect(JSON.parse(outcome.outputsJson)).toMatchObject({ codeCache: '' });
  });
});
