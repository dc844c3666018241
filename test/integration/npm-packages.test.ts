/**
 * Much-used packages from npm as authors use them: built by `plugin build`, run in a real isolate and in the real runner
 * of a step container. docs/what-works.md tells authors what this found.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { buildPlugin } from '@flowops/sdk/build/build-plugin.ts';
import type { BuildResult } from '@flowops/sdk/build/build-result.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type DockerService, startDocker } from '../services/docker.ts';
import { ROOT } from '../support/clone.ts';
import { openTierOn, RUNTIMES } from '../support/container-tier.ts';
import { developerHost } from '../support/developer-host.ts';
import { installNpmPackages, pinnedVersions, pluginUsing } from '../support/npm-packages.ts';
import { skipBecause } from '../support/skip.ts';
import { isolateSteps, runnerSteps, type StepHost } from '../support/step-host.ts';
import type { AnswerCall } from '../support/worker-host.ts';
import { NATIVE, NOT_BUILT, WITHOUT_NETWORK, WORKING, WORKING_FOR_NODE } from './npm-packages-table.ts';

/** What a connection fails with on either runtime. */
const NOWHERE = /^Error: connect (EPERM|EHOSTUNREACH|ENETUNREACH) 192\.0\.2\.1:/;
const INSTALL_MS = 300_000;
const LIMITS = { memoryMb: 128, wallMs: 60_000, cpuMs: 60_000 };

const sandbox = developerHost();
beforeAll(() => installNpmPackages(), INSTALL_MS);

const builds = new Map<string, Promise<BuildResult>>();
function build(name: string): Promise<BuildResult> {
  const file = pluginUsing(name);
  const building = builds.get(name) ?? buildPlugin(file, { sandbox, relativeTo: path.dirname(file) });
  builds.set(name, building);
  return building;
}

async function bundleOf(name: string): Promise<Uint8Array> {
  const built = await build(name);
  if (!built.ok) throw new Error(built.message);
  return built.bundle;
}

const requestSchema = z.object({ method: z.string(), url: z.string(), body: z.string().nullable() });

/** An API that tells what it was asked; nothing lies under /missing, and /unready answers at the second try. */
function echoingApi(): AnswerCall {
  let count = 0;
  return ({ token, callId, method, payloadJson }, peer) => {
    if (method !== 'fetch') return;
    const request = requestSchema.parse(JSON.parse(Buffer.from(payloadJson).toString()));
    const { pathname } = new URL(request.url);
    const body = Buffer.from(request.body ?? '', 'base64').toString();
    if (pathname.endsWith('/unready')) count++;
    const status = pathname.endsWith('/missing') ? 404 : pathname.endsWith('/unready') && count === 1 ? 503 : 200;
    const answered = status === 404 ? { error: { type: 'invalid_request_error' } } : { ...request, body, count };
    const answer = {
      url: request.url,
      redirected: false,
      status,
      statusText: '',
      headers: [['content-type', 'application/json']],
      body: Buffer.from(JSON.stringify(answered)).toString('base64'),
    };
    peer.send({
      case: 'hostReply',
      value: { token, callId, ok: true, payloadJson: Buffer.from(JSON.stringify(answer)) },
    });
  };
}

async function outputOf(steps: StepHost, name: string): Promise<unknown> {
  steps.answerCall = echoingApi();
  const done = await steps.run(await bundleOf(name), { limits: LIMITS });
  expect(done).toMatchObject({ status: 'COMPLETED', message: '' });
  return z.object({ o: z.unknown() }).parse(done.outputs).o;
}

describe.each([
  ['an isolate', isolateSteps()],
  ['the runner of a container', runnerSteps()],
] as const)('in %s', (_, steps) => {
  afterAll(() => steps.close());

  it.each(Object.entries(WORKING))('%s does what it does elsewhere', async (name, expected) => {
    expect(await outputOf(steps, name)).toEqual(expected);
  });
});

describe('with runtime: "node"', () => {
  const steps = runnerSteps();
  afterAll(() => steps.close());

  it.each(Object.entries(WORKING_FOR_NODE))('%s works in a container', async (name, expected) => {
    expect(await outputOf(steps, name)).toEqual(expected);
  });

  it.each(Object.entries(NATIVE))('%s is built with a warning, and fails when it runs', async (name, why) => {
    expect(await build(name)).toMatchObject({
      ok: true,
      warnings: [{ message: expect.stringMatching(/ is native code, /) }],
    });
    const done = await steps.run(await bundleOf(name), { limits: LIMITS });
    expect(done).toMatchObject({ status: 'FAILED', code: 'PLUGIN_ERROR', message: expect.stringMatching(why) });
  });
});

describe.each(RUNTIMES)('in a container of %s', (runtime) => {
  let docker: DockerService;
  beforeAll(async () => {
    docker = await startDocker();
  }, INSTALL_MS);
  afterAll(() => docker?.stop());
  beforeEach((context) => {
    if (!docker.runtimes.includes(runtime)) skipBecause(context, `this Docker has no ${runtime}`);
  });

  it.each(Object.entries(WITHOUT_NETWORK))('%s is there, and its connections lead nowhere', async (name, expected) => {
    const { tier, start } = openTierOn(docker, runtime);
    const { outcome } = await start('', { bundle: await bundleOf(name), limits: LIMITS }).run.ended;
    await tier.close();
    expect(outcome).toMatchObject({ status: 'COMPLETED' });
    const outputs = outcome.status === 'COMPLETED' ? Buffer.from(outcome.outputsJson).toString() : '{}';
    expect(JSON.parse(outputs)).toEqual({ o: [expected, expect.stringMatching(NOWHERE)] });
  });
});

it.each(Object.entries(NOT_BUILT))('%s stops the build, which says why', async (name, why) => {
  const built = await build(name);
  expect(built).toMatchObject({ ok: false, code: 'PLUGIN_INVALID' });
  expect(built.ok ? '' : built.message).toMatch(why);
});

/** `| `name` 1.2.3 | yes | … |`: the package, its version, what it needs. */
const ROW = /^\| `([^`]+)` (\S+) \| (yes|node|no)\b/gm;

it('the page for authors tells what was found here', () => {
  const page = readFileSync(path.join(ROOT, 'docs', 'what-works.md'), 'utf8');
  const told = [...page.matchAll(ROW)].map(([, name, version, verdict]) => `${name} ${version} ${verdict}`);
  const versions = pinnedVersions();
  const found = (names: object, verdict: string) =>
    Object.keys(names).map((name) => `${name} ${versions[name]} ${verdict}`);
  const all = [
    ...found(WORKING, 'yes'),
    ...found(WORKING_FOR_NODE, 'node'),
    ...found(WITHOUT_NETWORK, 'no'),
    ...found(NATIVE, 'no'),
    ...found(NOT_BUILT, 'no'),
  ];
  expect(told.sort()).toEqual(all.sort());
  expect(page).toContain(readFileSync(path.join(path.dirname(pluginUsing('zod')), '..', 'missing.js'), 'utf8'));
  expect(Object.keys(versions).sort()).toEqual(all.map((line) => line.split(' ', 1)[0]).sort());
});
