/** Steps whose plugins are written by hand, as no build of ours would make them, for a sandbox host of any kind. */
import { randomBytes } from 'node:crypto';
import type { Attempt, AttemptRequest, SandboxHost } from '@flowops/proto/attempt.ts';
import { digestOf } from '@flowops/proto/ids.ts';

/** Of the plugin test.real, with this text as its `run`; it may give one output, `a`. */
export function handMadeBundle(run: string): { readonly bytes: Buffer; readonly digest: string } {
  const declared = { name: 'test.real', version: '1.0.0', description: '', permissions: { net: [], secrets: [] } };
  const manifest = { ...declared, inputs: {}, outputs: { a: { type: 'json' } } };
  const task = { ...declared, api: 1, inputs: {}, outputs: { a: { type: 'json', field: 'a' } } };
  const code = `export default { [Symbol.for('flowops.task')]: ${JSON.stringify(task)}, run: ${run} };`;
  const bytes = Buffer.from(`//! flowops-plugin ${JSON.stringify(manifest)}\n${code}\n`);
  return { bytes, digest: digestOf(bytes) };
}

/** A step of it, in a run of its own. */
export function handMadeStep(run: string, changes: Partial<AttemptRequest> = {}): AttemptRequest {
  const bundle = handMadeBundle(run);
  return {
    token: randomBytes(16).toString('hex'),
    purpose: 'run',
    flowId: 'f',
    runId: `r-${randomBytes(4).toString('hex')}`,
    stepId: 's',
    attempt: 1,
    epoch: 1,
    pluginId: 'test.real',
    pluginVersion: '1.0.0',
    digest: bundle.digest,
    inputsJson: '{}',
    idempotencyKey: 'f/r/s',
    bundle: async () => ({ ok: true, bundle }),
    ...changes,
  };
}

export const ENDLESS = '() => new Promise(() => {})';

/** Resolves when its first instruction ran. */
export async function started(host: SandboxHost, request: AttemptRequest): Promise<Attempt> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const attempt = host.run(request, { onStarted: resolve });
  await Promise.race([
    promise,
    attempt.outcome.then((outcome) => {
      throw new Error(`it ended before it began: ${JSON.stringify(outcome)}`);
    }),
  ]);
  return attempt;
}
