/** A bundle on the disk, and a hand-written sandbox host that answers as a test says. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Attempt, AttemptListener, AttemptOutcome, AttemptRequest, SandboxHost } from '@flowops/proto/attempt.ts';
import { formatManifestLine, type Manifest, manifestSchema } from '@flowops/proto/manifest.ts';
import type { Receipt } from '@flowops/proto/receipt.ts';

export function manifest(changes: Partial<Manifest> = {}): Manifest {
  return { ...manifestSchema.parse({ name: 'acme.hello', version: '1.2.3' }), ...changes };
}

/** Its code is never run by these tests. */
export async function writeBundle(folder: string, changes: Partial<Manifest> = {}): Promise<string> {
  const file = join(folder, 'hello.js');
  await writeFile(file, `${formatManifestLine(manifest(changes))}export default {};\n`);
  return file;
}

export const RECEIPT: Receipt = {
  tier: 'isolate',
  jail: 'namespaces',
  runtime: 'isolated-vm 7.0.1',
  freshness: 'isolate',
  publisher: null,
  bundleDigest: `sha256:${'c'.repeat(64)}`,
  imageDigest: null,
  rule: 'rule 2 (sandbox-policy.yaml:14)',
  policyHash: `sha256:${'d'.repeat(64)}`,
  limits: { memoryMb: 64, cpuMs: 10_000, wallMs: 30_000, outputBytes: 1_048_576, logBytes: 65_536, hostCalls: 1000 },
  queueMs: 0,
  startMs: 2.25,
  runMs: 12.4,
  cpuMs: 3.5,
  peakMemoryBytes: 25_270_681,
  bytesIn: 20,
  bytesOut: 45,
  hostCalls: 0,
  net: [],
  secrets: [],
  droppedLogLines: 0,
  sources: { cpuMs: 'worker', peakMemoryBytes: 'host' },
};

export interface ScriptedHost extends SandboxHost {
  readonly requests: AttemptRequest[];
  readonly cancels: { graceMs: number; reason: string }[];
  readonly acknowledged: () => number;
}

export type Script = (listener: AttemptListener, cancelled: Promise<void>) => Promise<AttemptOutcome> | AttemptOutcome;

export function scriptedHost(script: Script): ScriptedHost {
  const requests: AttemptRequest[] = [];
  const cancels: { graceMs: number; reason: string }[] = [];
  let acknowledged = 0;
  return {
    instance: 'scripted',
    maxAttempts: 1,
    isShared: false,
    closed: new Promise(() => {}),
    requests,
    cancels,
    acknowledged: () => acknowledged,
    run(request, listener): Attempt {
      requests.push(request);
      const cancelled = Promise.withResolvers<void>();
      return {
        outcome: Promise.resolve().then(() => script(listener, cancelled.promise)),
        cancel(options) {
          cancels.push(options);
          cancelled.resolve();
        },
        pause() {},
        resume() {},
        acknowledge() {
          acknowledged++;
        },
        leave() {},
      };
    },
    attach: async () => ({ state: 'unknown' }),
    close: async () => {},
  };
}
