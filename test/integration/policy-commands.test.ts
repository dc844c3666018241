/** `flowops policy diff|explain|demotions|pins` as an operator calls them: the real program, the real sandbox. */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { formatSignature, newPrivateKey, readPrivateKey, signBundle } from '@flowops/proto/bundle-signature.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { formatManifestLine, type Manifest } from '@flowops/proto/manifest.ts';
import {
  policyDemotionsReportSchema,
  policyDiffReportSchema,
  policyExplainReportSchema,
  policyPinsReportSchema,
  runReportSchema,
} from '@flowops/sandbox/cli/reports.ts';
import { serveRegistry } from '@flowops/sdk/registry/registry-server.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;
const { pem, publicKey } = newPrivateKey();
const PUBLISHERS = `version: 1\npublishers: { acme: { keys: [{ key: "${publicKey.text}" }], names: ["acme.*"] } }\n`;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'policy-commands-'));
  await publish('slack', { name: 'acme.slack', version: '1.0.0', net: ['slack.com:443'], isSigned: true });
  await publish('slack', { name: 'acme.slack', version: '1.1.0', net: ['slack.com:443'], isSigned: true });
  await publish('acme.mail', { name: 'acme.mail', version: '1.0.0', net: [], isSigned: false });
});
afterAll(() => rm(folder, { recursive: true }));

interface Publication {
  readonly name: string;
  readonly version: string;
  readonly net: string[];
  readonly isSigned: boolean;
}

async function publish(pluginId: string, { name, version, net, isSigned }: Publication): Promise<void> {
  const manifest: Manifest = {
    ...{ name, version, description: '', inputs: {}, outputs: {} },
    permissions: { net, secrets: [] },
  };
  const bytes = Buffer.from(`${formatManifestLine(manifest)}export default {};\n`);
  await mkdir(join(folder, 'registry', pluginId), { recursive: true });
  const file = join(folder, 'registry', pluginId, `${version}.js`);
  await writeFile(file, bytes);
  const key = readPrivateKey(pem);
  if (!isSigned || !key.ok) return;
  const signature = signBundle({ digest: digestOf(bytes), name, version }, key.value.privateKey);
  await writeFile(`${file}.sig`, formatSignature(signature));
}

async function flowops(...args: string[]): Promise<{ exitCode: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [join(ROOT, 'bin/flowops.ts'), ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? '', FLOWOPS_HOME: join(folder, 'home') },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exit = new Promise<number | null>((resolve) => child.on('close', resolve));
  const [exitCode, stdout, stderr] = await Promise.all([exit, text(child.stdout), text(child.stderr)]);
  return { exitCode, stdout, stderr };
}

async function policyFile(name: string, yaml: string): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, yaml);
  return file;
}

describe('policy diff', () => {
  const OLD = `${PUBLISHERS}rules:\n  - match: { plugin: "acme.*", publisher: acme }\n    tier: isolate\n    grants: { net: ["slack.com:443"] }\n`;
  const NEW = `${OLD.replace('tier: isolate', 'tier: container')}minVersion: { acme.slack: 1.1.0 }\n`;

  test('lists each published version that would be treated differently, and ends with 1', async () => {
    const [former, next] = [await policyFile('old.yaml', OLD), await policyFile('new.yaml', NEW)];
    const { exitCode, stdout } = await flowops('policy', 'diff', next, '--policy', former, '--plugins', 'registry');
    expect(stdout).toBe(
      [
        'acme.slack 1.0.0 (published as slack)',
        '  runs  yes, in the isolate tier by rule 1 (old.yaml:4) → no: acme.slack 1.0.0 is older than 1.1.0, the lowest that minVersion (new.yaml:7) allows; use that or a later one',
        'acme.slack 1.1.0 (published as slack)',
        '  tier  isolate → container',
        `${former} → ${next}: 2 of 3 published versions would change\n`,
      ].join('\n'),
    );
    expect(exitCode).toBe(1);
  });

  test('says that nothing changes, and ends with 0', async () => {
    const former = await policyFile('old.yaml', OLD);
    const same = await policyFile('same.yaml', `# said in other words\n${OLD}`);
    const { exitCode, stdout } = await flowops('policy', 'diff', same, '--policy', former, '--plugins', 'registry');
    expect(stdout).toBe(`${former} → ${same}: nothing changes for 3\n`);
    expect(exitCode).toBe(0);
  });

  test('takes the plugins of a running plugin service, with the signatures that it has', async () => {
    const [former, next] = [await policyFile('old.yaml', OLD), await policyFile('new.yaml', NEW)];
    const registry = await serveRegistry({ dir: join(folder, 'registry'), host: '127.0.0.1', port: 0 });
    try {
      const config = await policyFile('config.yaml', `PLUGIN_SERVICE_ADDRESS: "${registry.address}"\n`);
      const { stdout } = await flowops('policy', 'diff', next, '--policy', former, '--json', '--config', config);
      const report = policyDiffReportSchema.parse(JSON.parse(stdout));
      expect(report.plugins).toBe(3);
      expect(report.changes.map(({ plugin, old }) => [plugin.version, old.publisher])).toEqual([
        ['1.0.0', 'acme'],
        ['1.1.0', 'acme'],
      ]);
    } finally {
      await registry.close();
    }
  });

  test('without plugins, and with a policy that does not load, is a wrong call', async () => {
    const next = await policyFile('new.yaml', NEW);
    const none = await flowops('policy', 'diff', next, '--json');
    expect(JSON.parse(none.stdout)).toMatchObject({ error: { message: expect.stringMatching(/^which plugins\?/) } });
    expect(none.exitCode).toBe(2);
    const wrong = await flowops('policy', 'diff', await policyFile('wrong.yaml', 'version: 2\n'), '--json');
    expect(JSON.parse(wrong.stdout)).toMatchObject({ error: { code: 'CONFIG_INVALID' } });
    expect(wrong.exitCode).toBe(2);
  });
});

test('policy explain reads the signature beside a bundle, and tells whose it is', async () => {
  const policy = await policyFile('signed.yaml', PUBLISHERS);
  const bundle = join('registry', 'slack', '1.0.0.js');
  const { stdout } = await flowops('policy', 'explain', bundle, '--policy', policy, '--id', 'slack', '--json');
  const report = policyExplainReportSchema.parse(JSON.parse(stdout));
  expect(report.plugin).toMatchObject({ pluginId: 'slack', publisher: 'acme', signatureProblem: null });
  const unknown = await flowops('policy', 'explain', bundle, '--json');
  expect(policyExplainReportSchema.parse(JSON.parse(unknown.stdout)).plugin).toMatchObject({
    publisher: null,
    signatureProblem: expect.stringContaining('no publisher of the policy has'),
  });
});

test('policy check tells warnings on stderr and in its report', async () => {
  const policy = await policyFile(
    'warned.yaml',
    'version: 1\nrules:\n  - match: { unsigned: true }\n    grants: { secrets: [{ name: T, hosts: ["a.example:443"] }] }\n',
  );
  const { exitCode, stdout, stderr } = await flowops('policy', 'check', policy);
  expect(stdout).toContain('is valid: 1 rule');
  expect(stderr).toContain(`${policy}:4: rules[0].grants.secrets[0].hosts: warning: T may go to a.example:443`);
  expect(exitCode).toBe(0);
});

/** A dozen starts of the program, each with a sandbox host. */
const MANY_STARTS_MS = 180_000;

describe('a plugin that breaks its limits', { timeout: MANY_STARTS_MS }, () => {
  const RULE =
    'version: 1\nrules:\n  - match: { unsigned: true }\n    tier: isolate\n    jail: none\n    limits: { outputBytes: 100 }\n    onViolation: { demote: 2 }\n';

  async function shouts(policy: string) {
    const ran = await flowops('sandbox', 'run', 'shouts.ts', '--policy', policy, '--json');
    return runReportSchema.parse(JSON.parse(ran.stdout));
  }

  test('is demoted over the hosts of one FLOWOPS_HOME, which explain shows, until an operator lifts it', async () => {
    const policy = await policyFile('demote.yaml', RULE);
    const body =
      "import { defineTask } from '@flowops/sdk';\nexport default defineTask({ name: 'test.shouts', version: '1.0.0', outputs: { text: { type: 'string' } }, run() { return { text: 'a'.repeat(200) }; } });\n";
    await writeFile(join(folder, 'shouts.ts'), body);
    for (let i = 0; i < 2; i++) {
      expect(await shouts(policy)).toMatchObject({ code: 'LIMIT_OUTPUT', receipt: { tier: 'isolate' } });
    }
    const third = await shouts(policy);
    expect(third.receipt).toMatchObject({
      tier: 'container',
      rule: 'rule 1 (demote.yaml:3) (demoted after 2 violations)',
    });

    const explained = await flowops('policy', 'explain', 'shouts.ts', '--policy', policy);
    expect(explained.stdout).toMatch(/tier +container\n[\s\S]*violations +demoted to the container tier since/);
    const listed = await flowops('policy', 'demotions', '--json');
    expect(policyDemotionsReportSchema.parse(JSON.parse(listed.stdout)).counted).toMatchObject([
      { name: 'test.shouts', publisher: null, pluginId: 'test.shouts', violations: 2, code: 'LIMIT_OUTPUT' },
    ]);

    const wrong = await flowops('policy', 'demotions', '--lift', 'test.shout');
    expect(wrong.stderr).toContain('did you mean test.shouts?');
    expect(wrong.exitCode).toBe(2);
    const lifted = await flowops('policy', 'demotions', '--lift', 'test.shouts');
    expect(lifted.stdout).toMatch(/^lifted: test.shouts, unsigned, published as test.shouts: demoted since /);
    expect(await shouts(policy)).toMatchObject({ code: 'LIMIT_OUTPUT', receipt: { tier: 'isolate' } });
  });

  test('leaves its name under its pluginId, which an operator may change', async () => {
    const listed = policyPinsReportSchema.parse(JSON.parse((await flowops('policy', 'pins', '--json')).stdout));
    expect(listed.pins).toMatchObject([{ pluginId: 'test.shouts', name: 'test.shouts', by: 'first use' }]);
    const agreed = await flowops('policy', 'pins', '--agree', 'test.shouts=test.other');
    expect(agreed.stdout).toMatch(/^test.shouts = test.other \(operator, /);
    const policy = await policyFile('demote.yaml', RULE);
    expect(await shouts(policy)).toMatchObject({
      code: 'POLICY_DENIED',
      error: expect.stringContaining('it was test.other when it was first used here'),
    });
    const wrong = await flowops('policy', 'pins', '--agree', 'test.shouts');
    expect(wrong.stderr).toContain('--agree takes PLUGIN_ID=NAME');
    expect(wrong.exitCode).toBe(2);
  });
});
