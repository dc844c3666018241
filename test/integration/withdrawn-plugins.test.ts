/** Versions as a flow meets them: pinned when a run starts, and still had after they were withdrawn. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { FlowEngine, FlowStep } from '@flowops/engine/embedded/api.ts';
import { ANSWER_FRESH_MS } from '@flowops/engine/plugins/plugin-service-source.ts';
import { publishBundle } from '@flowops/sdk/registry/publish-bundle.ts';
import { type RunningRegistry, serveRegistry } from '@flowops/sdk/registry/registry-server.ts';
import { withdrawPlugin } from '@flowops/sdk/registry/withdraw-plugin.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createEngine } from '../../bin/library.ts';
import { scratchFolder } from '../services/scratch.ts';
import { SILENT } from '../support/run-bench.ts';
import { bundleOf } from '../support/worker-host.ts';

const HELLO: FlowStep = { stepId: 'hello', pluginId: 'acme.hello' };
const NAP: FlowStep = { stepId: 'nap', pluginId: 'acme.nap' };
const [OLD, NEW] = ['1.9.0', '1.10.0'];

let dir: string;
let home: string;
let registry: RunningRegistry;
let engine: FlowEngine | undefined;
beforeEach(async () => {
  dir = scratchFolder();
  home = scratchFolder();
  registry = await serveRegistry({ dir, port: 0 });
  const outputs = { version: { type: 'string' as const } };
  await publish(
    bundleOf('await new Promise((resolve) => setTimeout(resolve, 2000)); return {};', { name: 'acme.nap' }),
  );
  for (const version of [OLD, NEW]) {
    await publish(bundleOf(`return { version: '${version}' };`, { name: 'acme.hello', version, outputs }));
  }
});
afterEach(async () => {
  await engine?.close();
  engine = undefined;
  await registry.close();
});

async function openEngine(kind: 'service' | 'folder'): Promise<FlowEngine> {
  const plugins = kind === 'service' ? { registry: registry.address } : dir;
  engine = await createEngine({ home, plugins, policy: 'developer', log: SILENT });
  return engine;
}

async function publish(text: string): Promise<void> {
  const published = await publishBundle({ registry: registry.address, bundle: Buffer.from(text) });
  if (!published.ok) throw new Error(published.message);
}

async function withdraw(version: string, options: { restore?: boolean } = {}): Promise<void> {
  const done = await withdrawPlugin({ registry: registry.address, pluginId: 'acme.hello', version, ...options });
  if (!done.ok) throw new Error(done.message);
  await new Promise((resolve) => setTimeout(resolve, ANSWER_FRESH_MS + 100)); // what a source was told within it is not asked again
}

async function versionRun(on: FlowEngine, step: Partial<FlowStep> = {}): Promise<unknown> {
  const run = await on.start({ flowId: 'f', steps: [{ ...HELLO, ...step }] });
  const { outputs, error } = await run.result();
  return outputs.hello?.version ?? error;
}

test.each(['service', 'folder'] as const)(
  'a flow gets the latest that is not withdrawn, and any version that it names: %s',
  async (kind) => {
    const on = await openEngine(kind);
    expect(await versionRun(on)).toBe(NEW);
    await withdraw(NEW);
    expect(await versionRun(on)).toBe(OLD);
    expect(await versionRun(on, { pluginVersion: NEW })).toBe(NEW);
    await withdraw(OLD);
    expect(await versionRun(on)).toMatch(/PLUGIN_NOT_FOUND.*no release that is not withdrawn/);
    await withdraw(NEW, { restore: true });
    expect(await versionRun(on)).toBe(NEW);
  },
);

test.each(['service', 'folder'] as const)(
  'a run that began with a version goes on with it after it was withdrawn, in an engine that has no bytes of it: %s',
  async (kind) => {
    const before = await openEngine(kind);
    const steps = [NAP, { ...HELLO, dependsOn: ['nap'] }];
    const run = await before.start({ flowId: 'f', steps }, { runId: 'r' });
    for await (const event of run.events()) if (event.eventType === 'STEP_STATUS') break; // its versions are pinned
    await run.pause();
    await before.close();
    await withdraw(NEW);
    await rm(join(home, 'cache'), { recursive: true });
    const after = await openEngine(kind);
    const resumed = await after.resume('r');
    await resumed.resume();
    expect((await resumed.result()).outputs).toMatchObject({ hello: { version: NEW } });
  },
);
