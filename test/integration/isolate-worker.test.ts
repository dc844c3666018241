/** The real isolate worker as a child process, spoken to over the real protocol. */
import { readdir } from 'node:fs/promises';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { isolateSteps } from '../support/step-host.ts';
import { bundleOf, startWorker, type WorkerHost } from '../support/worker-host.ts';
import { guestFetchSuite } from './guest-fetch-suite.ts';
import { guestGlobalsSuite } from './guest-globals-suite.ts';
import { guestSuite } from './guest-suite.ts';

const steps = isolateSteps();
guestSuite(steps);
guestGlobalsSuite(steps);
guestFetchSuite(steps);

let host: WorkerHost | undefined;
let w: WorkerHost;

beforeEach(async () => {
  if (host?.peer.isOpen !== true) host = await startWorker();
  w = host;
});
afterAll(async () => host?.close());

const text = { o: { type: 'string' } } as const;

test('steps in one worker run at the same time and do not see each other', async () => {
  const source = bundleOf(
    'globalThis.seen = (globalThis.seen ?? 0) + 1; await new Promise((r) => setTimeout(r, 20)); return { o: seen + inputs.who };',
    { inputs: { who: { type: 'string', required: true } }, outputs: text },
  );
  const done = await Promise.all(['a', 'b', 'c', 'd'].map((who) => w.run(source, { inputs: { who } })));
  expect(done.map(({ outputs }) => outputs)).toEqual([{ o: '1a' }, { o: '1b' }, { o: '1c' }, { o: '1d' }]);
});

test('a worker refuses to start with the snapshot of node on', async () => {
  const refused = await startWorker([]);
  expect(await refused.ended).toMatchObject({ code: 71 });
  expect(refused.stderr).toContain('--no-node-snapshot');
});

test('a worker ends when its host goes, also in the middle of a step', async () => {
  const other = await startWorker();
  const step = other.start(bundleOf("logger.info('ready'); for (;;);"));
  await step.logged('ready');
  other.peer.close('gone');
  expect((await other.ended).code).not.toBe(0);
});

test('after many steps the worker holds no more descriptors than before', async () => {
  const count = async () => (await readdir(`/proc/${w.child.pid}/fd`)).length;
  const source = bundleOf('setTimeout(() => {}, 60_000); return {};');
  await w.run(source);
  const before = await count();
  for (let i = 0; i < 50; i++) await w.run(source);
  expect(await count()).toBeLessThanOrEqual(before);
});

test('a syntax error is told with its place', async () => {
  const done = await w.run(bundleOf('return {'));
  expect(done).toMatchObject({
    code: 'PLUGIN_INVALID',
    message: expect.stringMatching(/\(test\.plugin\.js:\d+:\d+\)$/),
  });
});

test('a plugin for Node is refused, and is inspected all the same', async () => {
  const source = bundleOf('return {};', { runtime: 'node' });
  expect(await w.run(source)).toMatchObject({
    code: 'PLUGIN_INVALID',
    message: expect.stringContaining('container tier only'),
  });
  expect(await w.run(source, { inspect: true })).toMatchObject({ outputs: { runtime: 'node' } });
});
