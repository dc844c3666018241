/**
 * onViolation to its end: a signed plugin of the isolate tier that breaks its limits moves into containers of a real
 * Docker, for all to see, over restarts of the host, until an operator lifts it; and what it is told without Docker. One
 * story on one FLOWOPS_HOME: each test begins where the former ended.
 */
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type HostProcess, startHostProcess } from '@flowops/proto/host-process.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { manifestSchema } from '@flowops/proto/manifest.ts';
import { policyDemotionsReportSchema, policyExplainReportSchema } from '@flowops/sandbox/cli/reports.ts';
import { moduleOf, wholeBundle } from '@flowops/sandbox/doctor/bundle-text.ts';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type DockerService, startDocker } from '../services/docker.ts';
import { scratchFolder } from '../services/scratch.ts';
import { newSigner } from '../support/signer.ts';

const ACME = newSigner();
const POLICY = `version: 1
publishers: { acme: { keys: [{ key: "${ACME.key}" }], names: ["acme.*"] } }
rules:
  - match: { publisher: acme }
    tier: isolate
    jail: none
    limits: { outputBytes: 100 }
    onViolation: { demote: 2 }
`;
/** As many letters as it is asked for: more than 98 break its limit. */
const { bytes: SHOUTS } = (() => {
  const manifest = manifestSchema.parse({
    ...{ name: 'acme.shouts', version: '1.0.0' },
    ...{ inputs: { letters: { type: 'integer', required: true } }, outputs: { o: { type: 'string' } } },
  });
  return wholeBundle(manifest, moduleOf("return { o: 'a'.repeat(inputs.letters) };", manifest));
})();

let docker: DockerService;
let folder: string;
let host: HostProcess | undefined;
let log = '';
beforeAll(async () => {
  docker = await startDocker();
  folder = scratchFolder();
  await writeFile(join(folder, 'policy.yaml'), POLICY);
  await writeFile(join(folder, 'acme.shouts.js'), SHOUTS);
  await writeFile(join(folder, 'acme.shouts.js.sig'), ACME.sign(SHOUTS));
}, 300_000);
afterEach(async () => {
  await host?.close();
  host = undefined;
});
afterAll(() => docker.stop());

function environment(): Record<string, string | undefined> {
  return { PATH: process.env.PATH, ...docker.env, FLOWOPS_HOME: join(folder, 'home'), SANDBOX_CONTAINERS_AHEAD: '0' };
}

async function startHost(env: Readonly<Record<string, string>> = {}): Promise<void> {
  log = '';
  const started = await startHostProcess({
    ...{ role: 'engine', instance: 'test', env: { ...environment(), ...env } },
    policy: { kind: 'file', file: join(folder, 'policy.yaml') },
    onLog: (lines) => {
      log += lines;
    },
  });
  if (!started.ok) throw new Error(started.message);
  host = started.host;
}

async function shout(letters: number) {
  const digest = digestOf(SHOUTS);
  const attempt = host?.run(
    {
      ...{ token: crypto.randomUUID().replaceAll('-', ''), purpose: 'run', epoch: 1, attempt: 1 },
      ...{ flowId: 'f', runId: crypto.randomUUID(), stepId: 's', idempotencyKey: 'k' },
      ...{ pluginId: 'shouts', pluginVersion: '1.0.0', digest, inputsJson: JSON.stringify({ letters }) },
      signature: ACME.sign(SHOUTS),
      bundle: async () => ({ ok: true, bundle: { digest, bytes: SHOUTS } }),
    },
    {},
  );
  if (attempt === undefined) throw new Error('no host was started');
  const outcome = await attempt.outcome;
  attempt.acknowledge();
  return outcome;
}

async function flowops(...args: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../bin/flowops.ts'), ...args], {
    cwd: folder,
    env: environment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return text(child.stdout);
}

const inIsolate = { tier: 'isolate', publisher: 'acme', rule: 'rule 1 (policy.yaml:4)' };
const inContainer = {
  ...{ tier: 'container', jail: 'container', runtime: 'runc', publisher: 'acme' },
  rule: 'rule 1 (policy.yaml:4) (demoted after 2 violations)',
};

test('two violations in an isolate lead into a container, and the log says so with what to do', async () => {
  await startHost();
  expect(await shout(1)).toMatchObject({ status: 'COMPLETED', receipt: inIsolate });
  expect(await shout(200)).toMatchObject({ code: 'LIMIT_OUTPUT', receipt: inIsolate });
  expect(await shout(1)).toMatchObject({ status: 'COMPLETED', receipt: inIsolate });
  expect(await shout(200)).toMatchObject({ code: 'LIMIT_OUTPUT', receipt: inIsolate });
  expect(await shout(1)).toMatchObject({ status: 'COMPLETED', receipt: inContainer });
  expect(log).toMatch(
    /acme\.shouts of acme is demoted to the container tier after 2 violations \(the last: LIMIT_OUTPUT; rule 1 \(policy\.yaml:4\)\).*flowops policy demotions --lift acme\.shouts/,
  );
});

test('a host that is started anew still sends it there, with its limits, and counts nothing that it does there', async () => {
  await startHost();
  expect(await shout(1)).toMatchObject({ status: 'COMPLETED', receipt: inContainer });
  expect(await shout(200)).toMatchObject({ code: 'LIMIT_OUTPUT', receipt: inContainer });
  const listed = policyDemotionsReportSchema.parse(JSON.parse(await flowops('policy', 'demotions', '--json')));
  expect(listed.counted).toMatchObject([
    { name: 'acme.shouts', publisher: 'acme', violations: 2, code: 'LIMIT_OUTPUT', demotedAt: expect.any(String) },
  ]);
  const explained = policyExplainReportSchema.parse(
    JSON.parse(await flowops('policy', 'explain', 'acme.shouts.js', '--policy', 'policy.yaml', '--json')),
  );
  expect(JSON.stringify(explained)).toContain('"tier":"container"');
});

test('where Docker is absent it is refused with both reasons, and no isolate runs it instead', async () => {
  await startHost({ DOCKER_HOST: 'unix:///nowhere/docker.sock' });
  const outcome = await shout(1);
  expect(outcome).toMatchObject({
    ...{ status: 'FAILED', code: 'SANDBOX_UNAVAILABLE', retryable: true },
    message: expect.stringMatching(/demoted after 2 violations\).*container tier.*Docker does not answer/s),
  });
});

test('an operator who lifts it sends it back to isolates, also under a host that runs', async () => {
  await startHost();
  expect(await shout(1)).toMatchObject({ receipt: inContainer });
  expect(await flowops('policy', 'demotions', '--lift', 'acme.shouts')).toMatch(/^lifted: acme\.shouts of acme/);
  await expect
    .poll(() => shout(1), { timeout: 15_000, interval: 250 })
    .toMatchObject({ status: 'COMPLETED', receipt: inIsolate });
  expect(await shout(200)).toMatchObject({ code: 'LIMIT_OUTPUT', receipt: inIsolate });
  expect(await shout(1)).toMatchObject({ status: 'COMPLETED', receipt: inIsolate });
});
