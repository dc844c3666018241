import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { type Manifest, manifestSchema } from '@flowops/proto/manifest.ts';
import { InvokeSchema, Purpose } from '@flowops/proto/sandbox_pb.js';
import { admitAttempt } from '@flowops/sandbox/attempts/admission.ts';
import { NO_MEMORY } from '@flowops/sandbox/ledger/plugin-ledger.ts';
import type { RuntimeProblem } from '@flowops/sandbox/policy/docker-watch.ts';
import { describe, expect, test } from 'vitest';
import { policyOf } from '../policy/policy-text.ts';

const digest = `sha256:${createHash('sha256').digest('hex')}`;

function admit(manifest: Manifest, tier: 'isolate' | 'container', purpose = Purpose.RUN) {
  const { name, version } = manifest;
  const invoke = create(InvokeSchema, { pluginId: name, pluginVersion: version, digest, purpose });
  const policy = policyOf(`version: 1\nrules:\n  - match: { plugin: "*", unsigned: true }\n    tier: ${tier}\n`);
  return admitAttempt(invoke, { digest, bytes: new Uint8Array(0), manifest }, { policy, memory: NO_MEMORY, nowMs: 0 });
}

const forNode = manifestSchema.parse({ name: 'acme.db', version: '1.0.0', runtime: 'node' });

test('a plugin for Node is refused where its rule gives the isolate tier, with what to change', () => {
  expect(admit(forNode, 'isolate')).toMatchObject({
    ok: false,
    code: 'POLICY_DENIED',
    message: expect.stringMatching(/^acme\.db 1\.0\.0 says runtime: "node" .* rule 1 .* To allow: tier: container$/),
  });
});

describe('under strictRuntimes', () => {
  const plain = manifestSchema.parse({ name: 'acme.db', version: '1.0.0' });
  const invoke = create(InvokeSchema, { pluginId: 'acme.db', pluginVersion: '1.0.0', digest, purpose: Purpose.RUN });
  const problem: RuntimeProblem = { code: 'POLICY_DENIED', message: 'runc of this machine has a known hole: CVE-1' };
  const admitStrict = (tier: string, workerRuntime?: string, strict = true) => {
    const rules = `rules:\n  - match: { unsigned: true }\n    tier: ${tier}\n`;
    const policy = policyOf(`version: 1\nstrictRuntimes: ${strict}\n${rules}`);
    const runtimeProblem = (runtime: string) => (runtime === 'runc' ? problem : undefined);
    const parts = { policy, memory: NO_MEMORY, runtimeProblem, workerRuntime, nowMs: 0 };
    return admitAttempt(invoke, { digest, bytes: new Uint8Array(0), manifest: plain }, parts);
  };

  test('a container of a runtime with a known hole is refused, and so is an isolate whose worker is one', () => {
    expect(admitStrict('container')).toMatchObject({
      code: 'POLICY_DENIED',
      message:
        'rule 1 (sandbox-policy.yaml:4) sends acme.db to a container, and strictRuntimes allows none: runc of this machine has a known hole: CVE-1',
    });
    expect(admitStrict('isolate', 'runc')).toMatchObject({
      code: 'POLICY_DENIED',
      message: expect.stringContaining(
        'sends acme.db to an isolate, whose worker is a container here, and strictRuntimes',
      ),
    });
  });

  test('an isolate whose worker is jailed or runs under another runtime is taken', () => {
    expect(admitStrict('isolate')).toMatchObject({ ok: true, tier: 'isolate' });
    expect(admitStrict('isolate', 'runsc')).toMatchObject({ ok: true, tier: 'isolate' });
  });

  test('nothing of it holds without strictRuntimes', () => {
    expect(admitStrict('container', undefined, false)).toMatchObject({ ok: true });
    expect(admitStrict('isolate', 'runc', false)).toMatchObject({ ok: true });
  });
});

test('it is taken in a container, and inspected in an isolate', () => {
  expect(admit(forNode, 'container')).toMatchObject({ ok: true, tier: 'container' });
  expect(admit(forNode, 'isolate', Purpose.INSPECT)).toMatchObject({ ok: true, tier: 'isolate' });
});
