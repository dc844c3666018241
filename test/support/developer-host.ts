/** A real sandbox host under the developer policy, for the tests of one file: started with the first, ended with the last. */

import { randomBytes } from 'node:crypto';
import type { AttemptOutcome, LogLine, SandboxHost } from '@flowops/proto/attempt.ts';
import { startHostProcess } from '@flowops/proto/host-process.ts';
import type { Json } from '@flowops/proto/json.ts';
import type { BuiltPlugin, OpenedSandbox } from '@flowops/sdk/build/build-result.ts';
import { afterAll, beforeAll } from 'vitest';

/** @returns what gives the host, in the form the build takes. */
export function developerHost(): () => Promise<OpenedSandbox & { readonly ok: true }> {
  let host: SandboxHost | undefined;
  beforeAll(async () => {
    const started = await startHostProcess({
      role: 'cli',
      instance: 'test',
      env: { ...process.env, LOG_LEVEL: 'error' },
      policy: { kind: 'developer' },
    });
    if (!started.ok) throw new Error(started.message);
    host = started.host;
  });
  afterAll(async () => {
    await host?.close();
  });
  return async () => {
    if (host === undefined) throw new Error('the host is there from the first test on');
    return { ok: true, host };
  };
}

export interface AttemptRun {
  readonly outcome: AttemptOutcome;
  readonly logs: readonly LogLine[];
}

/** One attempt of a built plugin, as an engine makes it. */
export async function runBuilt(
  host: SandboxHost,
  { bundle: bytes, digest, manifest }: BuiltPlugin,
  inputs: Readonly<Record<string, Json>>,
  requestedWallMs?: number,
): Promise<AttemptRun> {
  const logs: LogLine[] = [];
  const token = randomBytes(16).toString('hex');
  const attempt = host.run(
    {
      token,
      purpose: 'run',
      flowId: 'test',
      runId: token,
      stepId: 'step',
      attempt: 1,
      epoch: 1,
      pluginId: manifest.name,
      pluginVersion: manifest.version,
      digest,
      inputsJson: JSON.stringify(inputs),
      idempotencyKey: `test/${token}/step`,
      ...(requestedWallMs === undefined ? {} : { requestedWallMs }),
      bundle: async () => ({ ok: true, bundle: { digest, bytes } }),
    },
    { onLog: (line) => logs.push(line) },
  );
  const outcome = await attempt.outcome;
  attempt.acknowledge();
  return { outcome, logs };
}
