import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { type Manifest, manifestSchema } from '@flowops/proto/manifest.ts';
import { InvokeSchema, Purpose } from '@flowops/proto/sandbox_pb.js';
import { admitAttempt } from '@flowops/sandbox/attempts/admission.ts';
import { NO_MEMORY } from '@flowops/sandbox/ledger/plugin-ledger.ts';
import { expect, test } from 'vitest';
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

test('it is taken in a container, and inspected in an isolate', () => {
  expect(admit(forNode, 'container')).toMatchObject({ ok: true, tier: 'container' });
  expect(admit(forNode, 'isolate', Purpose.INSPECT)).toMatchObject({ ok: true, tier: 'isolate' });
});
