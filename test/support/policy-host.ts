/** A real sandbox host under a policy file that a test writes anew, and steps of bundles that it makes by hand. */
import { randomBytes } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AttemptListener, AttemptOutcome, AttemptRequest, LogLine } from '@flowops/proto/attempt.ts';
import { type HostProcess, startHostProcess } from '@flowops/proto/host-process.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { readBundleManifest } from '@flowops/proto/manifest.ts';
import { vi } from 'vitest';
import { scratchFolder } from '../services/scratch.ts';

/** A policy file is looked at once a second and read when it stayed the same. */
const RELOAD_MS = 15_000;

export interface StepChanges extends Partial<AttemptRequest> {
  readonly inputs?: Record<string, unknown>;
}

export interface StepEnd {
  readonly outcome: AttemptOutcome;
  /** Whether an instruction of the plugin may have run. */
  readonly hasStarted: boolean;
  readonly logs: readonly LogLine[];
}

export class PolicyHost {
  readonly host: HostProcess;
  readonly #file: string;

  private constructor(host: HostProcess, file: string) {
    this.host = host;
    this.#file = file;
  }

  static async start(policy: string, env: Readonly<Record<string, string>> = {}): Promise<PolicyHost> {
    const file = join(scratchFolder(), 'policy.yaml');
    await writeFile(file, policy);
    const started = await startHostProcess({
      role: 'engine',
      instance: 'test',
      // A home of its own: what other hosts remember of plugins is not to count here.
      env: { ...process.env, LOG_LEVEL: 'error', FLOWOPS_HOME: join(scratchFolder(), 'home'), ...env },
      policy: { kind: 'file', file },
    });
    if (!started.ok) throw new Error(started.message);
    return new PolicyHost(started.host, file);
  }

  /** Puts another policy in force; resolves when the host decides by it, as `hasChanged` finds out. */
  async reload(policy: string, hasChanged: () => Promise<boolean>): Promise<void> {
    await this.rewrite(policy);
    await vi.waitUntil(hasChanged, { timeout: RELOAD_MS, interval: 250 });
  }

  async rewrite(policy: string): Promise<void> {
    await writeFile(`${this.#file}.new`, policy);
    await rename(`${this.#file}.new`, this.#file);
  }

  request(bytes: Uint8Array, { inputs = {}, ...changes }: StepChanges = {}): AttemptRequest {
    const digest = digestOf(bytes);
    const manifest = readBundleManifest(bytes);
    const token = randomBytes(16).toString('hex');
    return {
      token,
      purpose: 'run',
      flowId: 'flow',
      runId: token,
      stepId: 'step',
      attempt: 1,
      epoch: 1,
      pluginId: manifest.ok ? manifest.manifest.name : 'test.broken',
      pluginVersion: manifest.ok ? manifest.manifest.version : '1.0.0',
      digest,
      inputsJson: JSON.stringify(inputs),
      idempotencyKey: `flow/${token}/step`,
      bundle: async () => ({ ok: true, bundle: { digest, bytes } }),
      ...changes,
    };
  }

  async run(bytes: Uint8Array, changes: StepChanges = {}, listener: AttemptListener = {}): Promise<StepEnd> {
    const logs: LogLine[] = [];
    let hasStarted = false;
    const attempt = this.host.run(this.request(bytes, changes), {
      onLog: (line) => logs.push(line),
      onStarted: () => {
        hasStarted = true;
        listener.onStarted?.();
      },
    });
    const outcome = await attempt.outcome;
    attempt.acknowledge();
    return { outcome, hasStarted, logs };
  }

  close(): Promise<void> {
    return this.host.close();
  }
}
