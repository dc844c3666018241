/** A signature's whole way: published, served, fetched by an engine, carried to a real host, and told in a receipt. */
import { writeFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FlowEngine, FlowStep } from '@flowops/engine/embedded/api.ts';
import { ANSWER_FRESH_MS } from '@flowops/engine/plugins/plugin-service-source.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { type Receipt, receiptSchema } from '@flowops/proto/receipt.ts';
import { publishBundle } from '@flowops/sdk/registry/publish-bundle.ts';
import { type RunningRegistry, serveRegistry } from '@flowops/sdk/registry/registry-server.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createEngine } from '../../bin/library.ts';
import { scratchFolder } from '../services/scratch.ts';
import { SILENT } from '../support/run-bench.ts';
import { newSigner } from '../support/signer.ts';
import { bundleOf } from '../support/worker-host.ts';

const ACME = newSigner();
const hello = (value: number, version = '1.0.0') =>
  Buffer.from(
    bundleOf(`return { o: ${value} };`, { name: 'acme.hello', version, outputs: { o: { type: 'integer' } } }),
  );
const HELLO = hello(1);
const POLICY = `version: 1
publishers: { acme: { keys: [{ key: "${ACME.key}" }], names: ["acme.*"] } }
rules:
  - match: { publisher: acme }
    tier: isolate
    jail: none
  - match: { unsigned: true }
    deny: unsigned plugins do not run here
`;

let dir: string;
let home: string;
let registry: RunningRegistry;
let engine: FlowEngine | undefined;
beforeEach(async () => {
  dir = scratchFolder();
  home = scratchFolder();
  registry = await serveRegistry({ dir, port: 0 });
});
afterEach(async () => {
  await engine?.close();
  engine = undefined;
  await registry.close();
});

async function openEngine(kind: 'service' | 'folder'): Promise<FlowEngine> {
  const policy = join(home, 'policy.yaml');
  writeFileSync(policy, POLICY);
  engine = await createEngine({
    home,
    plugins: kind === 'service' ? { registry: registry.address } : dir,
    policy,
    log: SILENT,
  });
  return engine;
}

async function publish(bundle: Uint8Array, signature?: string): Promise<void> {
  const given = signature === undefined ? {} : { signature };
  const published = await publishBundle({ registry: registry.address, bundle, ...given });
  if (!published.ok) throw new Error(published.message);
}

interface Ran {
  readonly status: string;
  readonly error: string | null;
  readonly outputs: unknown;
  readonly receipts: readonly Receipt[];
}

/** `onStep` is called at the first event of each step. */
async function runFlow(
  on: FlowEngine,
  steps: FlowStep[],
  onStep: (stepId: string) => Promise<void> = async () => {},
): Promise<Ran> {
  const run = await on.start({ flowId: 'f', steps });
  const receipts: Receipt[] = [];
  const seen = new Set<string>();
  for await (const event of run.events()) {
    if (event.eventType !== 'STEP_STATUS') continue;
    if (event.receipt) receipts.push(receiptSchema.parse(event.receipt));
    if (!seen.has(event.stepId)) await onStep(event.stepId);
    seen.add(event.stepId);
  }
  const { status, error, outputs } = await run.result();
  return { status, error, outputs, receipts };
}

const HELLO_STEP = { stepId: 'hello', pluginId: 'acme.hello' };
/** What a source was told within this time is not asked again. */
const untilAskedAgain = () => new Promise((resolve) => setTimeout(resolve, ANSWER_FRESH_MS + 100));

test.each(['service', 'folder'] as const)(
  'a plugin signed before it is published runs as its publisher: %s',
  async (kind) => {
    await publish(HELLO, ACME.sign(HELLO));
    const ran = await runFlow(await openEngine(kind), [HELLO_STEP]);
    expect(ran).toMatchObject({ status: 'COMPLETED', outputs: { hello: { o: 1 } } });
    expect(ran.receipts).toMatchObject([{ publisher: 'acme', bundleDigest: digestOf(HELLO), tier: 'isolate' }]);
  },
);

test.each(['service', 'folder'] as const)(
  'a plugin that was cached unsigned, by the engine and by the host, runs once it is signed: %s',
  async (kind) => {
    await publish(HELLO);
    const on = await openEngine(kind);
    const before = await runFlow(on, [HELLO_STEP]);
    expect(before).toMatchObject({ status: 'FAILED', error: expect.stringContaining('unsigned plugins') as string });
    await publish(HELLO, newSigner().sign(HELLO));
    await untilAskedAgain();
    expect(await runFlow(on, [HELLO_STEP])).toMatchObject({ error: expect.stringContaining('no publisher') as string });
    await publish(HELLO, ACME.sign(HELLO));
    await untilAskedAgain();
    expect(await runFlow(on, [HELLO_STEP])).toMatchObject({ status: 'COMPLETED', receipts: [{ publisher: 'acme' }] });
  },
);

test('an engine that was started anew, with the service away, still knows who signed what it has', async () => {
  await publish(HELLO, ACME.sign(HELLO));
  const exactly = { ...HELLO_STEP, pluginVersion: '1.0.0' };
  expect(await runFlow(await openEngine('service'), [exactly])).toMatchObject({ status: 'COMPLETED' });
  await engine?.close();
  await registry.close();
  const ran = await runFlow(await openEngine('service'), [exactly]);
  expect(ran).toMatchObject({ status: 'COMPLETED', receipts: [{ publisher: 'acme' }] });
});

test('a run goes on with the bytes it began with when other bytes, signed too, take their place', async () => {
  const nap = Buffer.from(
    bundleOf('await new Promise((resolve) => setTimeout(resolve, 3000)); return { o: 1 };', {
      name: 'acme.nap',
      outputs: { o: { type: 'integer' } },
    }),
  );
  await publish(nap, ACME.sign(nap));
  await publish(HELLO, ACME.sign(HELLO));
  const on = await openEngine('folder');
  const other = hello(2);
  const replace = async () => {
    const file = join(dir, 'acme.hello', '1.0.0.js');
    await writeFile(`${file}.sig`, ACME.sign(other));
    await writeFile(`${file}.new`, other);
    await rename(`${file}.new`, file);
  };
  const steps = [
    { stepId: 'nap', pluginId: 'acme.nap' },
    { ...HELLO_STEP, dependsOn: ['nap'] },
  ];
  const ran = await runFlow(on, steps, (stepId) => (stepId === 'nap' ? replace() : Promise.resolve()));
  expect(ran).toMatchObject({ status: 'COMPLETED', outputs: { hello: { o: 1 } } });
  expect(ran.receipts.map(({ bundleDigest }) => bundleDigest)).toEqual([digestOf(nap), digestOf(HELLO)]);
  expect(ran.receipts.map(({ publisher }) => publisher)).toEqual(['acme', 'acme']);
  expect(await runFlow(on, [HELLO_STEP])).toMatchObject({ outputs: { hello: { o: 2 } } });
});
