/** One step of the doctor in a real host, exactly as an engine runs one, and all that came out of it. */
import { randomBytes } from 'node:crypto';
import type { AttemptOutcome, LogLine, SandboxHost } from '@flowops/proto/attempt.ts';
import { type Json, parseJson } from '@flowops/proto/json.ts';
import type { Receipt } from '@flowops/proto/receipt.ts';
import type { HostileBundle } from './bundle-text.ts';
import type { Ending } from './case.ts';

export interface StepOptions {
  readonly inputs?: Readonly<Record<string, Json>>;
  readonly purpose?: 'inspect';
  /** After its first instruction. */
  readonly stopAfterMs?: number;
  readonly stopGraceMs?: number;
  readonly signature?: string;
  readonly version?: string;
  readonly pluginId?: string;
  readonly tier?: 'isolate' | 'container';
  readonly onStarted?: () => void;
}

export interface StepRun {
  /** LOST: the host was gone. */
  readonly ending: Ending | 'LOST';
  readonly message: string;
  readonly stack: string;
  readonly outputs: Json | undefined;
  readonly lines: readonly LogLine[];
  readonly receipt: Receipt | null;
  /** From its first instruction, else from the Invoke. */
  readonly elapsedMs: number;
}

const STOP_GRACE_MS = 200;

export function startStep(host: SandboxHost, bundle: HostileBundle, options: StepOptions = {}) {
  const token = randomBytes(16).toString('hex');
  const lines: LogLine[] = [];
  let since = performance.now();
  const started = Promise.withResolvers<void>();
  let timer: NodeJS.Timeout | undefined;
  const attempt = host.run(
    {
      token,
      purpose: options.purpose ?? 'run',
      flowId: 'doctor',
      runId: token,
      stepId: bundle.manifest.name.replaceAll('.', '-'),
      attempt: 1,
      epoch: 1,
      pluginId: options.pluginId ?? bundle.manifest.name,
      pluginVersion: options.version ?? bundle.manifest.version,
      digest: bundle.digest,
      inputsJson: JSON.stringify(options.inputs ?? {}),
      idempotencyKey: `doctor/${token}/step`,
      ...(options.tier === undefined ? {} : { requestedTier: options.tier }),
      ...(options.signature === undefined ? {} : { signature: options.signature }),
      bundle: async () => ({
        ok: true,
        bundle: {
          digest: bundle.digest,
          bytes: bundle.bytes,
        },
      }),
    },
    {
      onStarted: () => {
        since = performance.now();
        started.resolve();
        options.onStarted?.();
        const { stopAfterMs, stopGraceMs = STOP_GRACE_MS } = options;
        if (stopAfterMs === undefined) return;
        timer = setTimeout(() => attempt.cancel({ graceMs: stopGraceMs, reason: 'the doctor stops it' }), stopAfterMs);
      },
      onLog: (line) => lines.push(line),
      // What it shows as progress is told to people too.
      onProgress: ({ message }) => lines.push({ timeMs: 0, level: 'debug', message }),
    },
  );
  const ended = attempt.outcome.then((outcome): StepRun => {
    clearTimeout(timer);
    started.resolve();
    attempt.acknowledge();
    return { ...readOutcome(outcome), lines, elapsedMs: performance.now() - since };
  });
  return { attempt, token, started: started.promise, ended };
}

export function runStep(host: SandboxHost, bundle: HostileBundle, options: StepOptions = {}): Promise<StepRun> {
  return startStep(host, bundle, options).ended;
}

function readOutcome(outcome: AttemptOutcome): Omit<StepRun, 'lines' | 'elapsedMs'> {
  switch (outcome.status) {
    case 'COMPLETED': {
      const parsed = parseJson(outcome.outputsJson);
      const outputs = parsed.ok ? parsed.value : outcome.outputsJson;
      return { ending: 'COMPLETED', message: '', stack: '', outputs, receipt: outcome.receipt };
    }
    case 'FAILED': {
      const { code, message, stack, receipt } = outcome;
      return { ending: code, message, stack, outputs: undefined, receipt };
    }
    case 'CANCELLED':
      return { ending: 'CANCELLED', message: outcome.message, stack: '', outputs: undefined, receipt: outcome.receipt };
    case 'LOST':
      return { ending: 'LOST', message: outcome.message, stack: '', outputs: undefined, receipt: null };
  }
}
