/**
 * `sandbox run` from a plugin's path to a report: build or read the bundle, fit the inputs, run one attempt in a sandbox
 * host exactly as an engine does. Knows nothing of terminals and processes: what it needs comes in as RunPluginParts.
 */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import type { Attempt, AttemptOutcome, LogLine, SandboxHost } from '@flowops/proto/attempt.ts';
import { errorFrames } from '@flowops/proto/error-frames.ts';
import { assertNever, type ErrorCode } from '@flowops/proto/errors.ts';
import { fitInputs } from '@flowops/proto/fit-inputs.ts';
import { isJsonObject, type JsonObject, parseJson } from '@flowops/proto/json.ts';
import { reportedLine } from '@flowops/proto/log-text.ts';
import type { Manifest } from '@flowops/proto/manifest.ts';
import type { BuildResult, BuiltPlugin, OpenSandbox } from '@flowops/sdk/build/build-result.ts';
import { loadPluginFile } from '@flowops/sdk/build/load-plugin-file.ts';
import { findPluginEntry } from '@flowops/sdk/build/plugin-entry.ts';
import type { ReportedLine, RunReport } from './reports.ts';

/** Lines kept for the report; the host's byte cap (policy: logBytes) ends a flood long before. */
const MAX_KEPT_LINES = 100_000;

export interface RunPluginOptions {
  readonly plugin: string;
  /** As given, before they are fitted to the manifest. */
  readonly inputs: JsonObject;
  readonly tier: 'isolate' | 'container' | undefined;
  readonly cacheDir: string;
  /** How long the plugin may take to stop after the first interrupt. */
  readonly stopGraceMs: number;
}

export interface RunPluginParts {
  /** Where a source is evaluated for its manifest, and the plugin run. */
  readonly sandbox: OpenSandbox;
  /** First abort: the plugin is stopped. The caller kills by closing the host. */
  readonly stop: AbortSignal;
  /** Before it is run. */
  onPlugin(built: BuiltPlugin): void;
  onLog(line: ReportedLine): void;
  onProgress(progress: { fraction: number; message: string }): void;
  /** Whoever debugs it; absent: nobody. */
  readonly debug?: (manifest: Manifest) => Promise<Debugger>;
}

export interface Debugger {
  onHostCall(call: { method: string; payloadJson: string }): Promise<string>;
  close(): Promise<void>;
}

/** The report, and the frames to show a person below its error. */
export interface RanPlugin {
  readonly report: RunReport;
  readonly frames: string;
}

/** What is to be run, and where its sources lie; a bundle's are nobody's business. */
export interface LoadedPlugin {
  readonly built: BuiltPlugin;
  readonly sourceFolder: string | undefined;
}

export type LoadResult =
  | { readonly ok: true; readonly plugin: LoadedPlugin }
  | { readonly ok: false; readonly ran: RanPlugin };

/** Never throws for what a plugin, its inputs or the sandbox do. */
export async function runPlugin(options: RunPluginOptions, parts: RunPluginParts): Promise<RanPlugin> {
  const loaded = await loadPlugin(options, parts);
  return loaded.ok ? await runLoaded(loaded.plugin, options, parts) : loaded.ran;
}

/** Builds or reads it. Never throws for what is wrong with it. */
export async function loadPlugin(
  { plugin, cacheDir }: Pick<RunPluginOptions, 'plugin' | 'cacheDir'>,
  { sandbox, stop }: Pick<RunPluginParts, 'sandbox' | 'stop'>,
): Promise<LoadResult> {
  const entry = await findPluginEntry(plugin);
  if (!entry.ok) return { ok: false, ran: failed(entry.code, entry.message) };
  const built = await loadPluginFile(plugin, { cacheDir, sandbox, signal: stop });
  if (!built.ok) return { ok: false, ran: failedToLoad(built, stop) };
  return { ok: true, plugin: { built, sourceFolder: entry.isBundle ? undefined : path.dirname(entry.file) } };
}

/** One attempt of it. Never throws for what it or the sandbox does. */
export async function runLoaded(
  { built: loaded, sourceFolder }: LoadedPlugin,
  options: RunPluginOptions,
  parts: RunPluginParts,
): Promise<RanPlugin> {
  parts.onPlugin(loaded);
  const fitted = fitInputs(options.inputs, loaded.manifest.inputs, 'plugin');
  if (!fitted.ok) return failed('INPUT_INVALID', fitted.message);
  if (parts.stop.aborted) return failed('CANCELLED', 'stopped before the plugin started');
  const opened = await parts.sandbox();
  if (!opened.ok) return failed(opened.code, opened.message);
  const logs: ReportedLine[] = [];
  const outcome = await runAttempt(opened.host, loaded, fitted.json, options, {
    ...parts,
    onLog: (line) => {
      if (logs.length < MAX_KEPT_LINES) logs.push(line);
      parts.onLog(line);
    },
  });
  const frames =
    outcome.status === 'FAILED' ? await errorFrames(outcome.stack, { sourceMap: loaded.sourceMap, sourceFolder }) : '';
  return { report: reportOf(outcome, logs), frames };
}

async function runAttempt(
  host: SandboxHost,
  { manifest, digest, bundle, signature }: BuiltPlugin,
  inputsJson: string,
  { tier, stopGraceMs }: RunPluginOptions,
  parts: RunPluginParts,
): Promise<AttemptOutcome> {
  const token = randomBytes(16).toString('hex');
  const debug = await parts.debug?.(manifest);
  const attempt: Attempt = host.run(
    {
      token,
      purpose: 'run',
      flowId: 'sandbox-run',
      runId: token,
      stepId: 'plugin',
      attempt: 1,
      epoch: 1,
      pluginId: manifest.name,
      pluginVersion: manifest.version,
      digest,
      ...(signature === undefined ? {} : { signature }),
      inputsJson,
      idempotencyKey: `sandbox-run:${token}:plugin`,
      ...(tier === undefined ? {} : { requestedTier: tier }),
      ...(debug === undefined ? {} : { debug: true }),
      bundle: async () => ({ ok: true, bundle: { digest, bytes: bundle } }),
    },
    {
      onLog: (line: LogLine) => parts.onLog(reportedLine(line)),
      onProgress: (progress) => parts.onProgress(progress),
      ...(debug === undefined ? {} : { onHostCall: (call) => debug.onHostCall(call) }),
    },
  );
  const onStop = () => attempt.cancel({ graceMs: stopGraceMs, reason: 'interrupted by the person who started it' });
  parts.stop.addEventListener('abort', onStop, { once: true });
  if (parts.stop.aborted) onStop();
  try {
    return await attempt.outcome;
  } finally {
    parts.stop.removeEventListener('abort', onStop);
    attempt.acknowledge();
    await debug?.close();
  }
}

function reportOf(outcome: AttemptOutcome, logs: readonly ReportedLine[]): RunReport {
  switch (outcome.status) {
    case 'COMPLETED': {
      const { outputsJson, receipt } = outcome;
      return { status: 'COMPLETED', code: null, error: null, outputs: outputsOf(outputsJson), logs, receipt };
    }
    case 'FAILED': {
      const { code, message, receipt } = outcome;
      return { status: 'FAILED', code, error: message, outputs: {}, logs, receipt };
    }
    case 'CANCELLED': {
      const { message, receipt } = outcome;
      return { status: 'FAILED', code: 'CANCELLED', error: message || 'stopped', outputs: {}, logs, receipt };
    }
    case 'LOST':
      return {
        status: 'FAILED',
        code: 'SANDBOX_UNAVAILABLE',
        error: outcome.message,
        outputs: {},
        logs,
        receipt: null,
      };
    default:
      return assertNever(outcome);
  }
}

/** The client let only one JSON object through. */
function outputsOf(outputsJson: string): JsonObject {
  const parsed = parseJson(outputsJson);
  return parsed.ok && isJsonObject(parsed.value) ? parsed.value : {};
}

function failedToLoad(result: Extract<BuildResult, { ok: false }>, stop: AbortSignal): RanPlugin {
  if (stop.aborted) return failed('CANCELLED', 'stopped while the plugin was built');
  return failed(result.code, result.message);
}

export function failed(code: ErrorCode, error: string): RanPlugin {
  return { report: { status: 'FAILED', code, error, outputs: {}, logs: [], receipt: null }, frames: '' };
}
