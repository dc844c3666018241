/**
 * The manifest of a plugin, told by its code: the bundle is evaluated in an isolate worker of a sandbox host, without
 * inputs and without grants (design 6.1). Nothing of it runs in this process. What the sandbox answers is a stranger's
 * word and is checked like any input.
 */
import { randomBytes } from 'node:crypto';
import type { AttemptOutcome, AttemptRequest } from '@flowops/proto/attempt.ts';
import { assertNever, type ErrorCode, errorInfo } from '@flowops/proto/errors.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { parseJson } from '@flowops/proto/json.ts';
import { checkManifest, formatManifestLine, type Manifest } from '@flowops/proto/manifest.ts';
import type { OpenSandbox } from './build-result.ts';

/** A top level declares things; one that takes longer than this on a loaded laptop does work that belongs in `start()`. */
export const INSPECT_WALL_MS = 5000;
/** After an abort; the host kills by itself what does not end. */
const CANCEL_GRACE_MS = 200;

/**
 * Stands on the first line of what is evaluated, because the manifest is not known yet: a host takes nothing that has no
 * manifest line, and the code's lines keep their numbers.
 */
const DRAFT_LINE = formatManifestLine({
  name: 'draft',
  version: '0.0.0',
  description: '',
  permissions: { net: [], secrets: [] },
  inputs: {},
  outputs: {},
});

export type InspectResult = { readonly ok: true; readonly manifest: Manifest } | InspectFailure;

export interface InspectFailure {
  readonly ok: false;
  /** PLUGIN_ERROR: the top level threw. PLUGIN_INVALID: what it exports is no task. */
  readonly code: ErrorCode;
  readonly message: string;
  /** Frames in the bundle, manifest line counted. */
  readonly stack: string;
}

/** @param code the bundle without its first line. */
export async function inspectCode(code: string, sandbox: OpenSandbox, signal?: AbortSignal): Promise<InspectResult> {
  const bytes = Buffer.from(DRAFT_LINE + code);
  const digest = digestOf(bytes);
  const opened = await sandbox();
  if (!opened.ok) return { ...opened, stack: '' };
  const token = randomBytes(16).toString('hex');
  const request: AttemptRequest = {
    token,
    purpose: 'inspect',
    flowId: 'inspect',
    runId: token,
    stepId: 'manifest',
    attempt: 1,
    epoch: 1,
    pluginId: 'draft',
    pluginVersion: '',
    digest,
    inputsJson: '{}',
    idempotencyKey: '',
    requestedWallMs: INSPECT_WALL_MS,
    requestedTier: 'isolate',
    bundle: async () => ({ ok: true, bundle: { digest, bytes } }),
  };
  const attempt = opened.host.run(request, {});
  const onAbort = (): void => attempt.cancel({ graceMs: CANCEL_GRACE_MS, reason: 'the build was stopped' });
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  try {
    return resultOf(await attempt.outcome);
  } finally {
    signal?.removeEventListener('abort', onAbort);
    attempt.acknowledge();
  }
}

function resultOf(outcome: AttemptOutcome): InspectResult {
  switch (outcome.status) {
    case 'COMPLETED':
      return manifestOf(outcome.outputsJson);
    case 'FAILED':
      return failureOf(outcome.code, outcome.message, outcome.stack);
    case 'CANCELLED':
      return { ok: false, code: 'CANCELLED', message: outcome.message, stack: '' };
    case 'LOST':
      return {
        ok: false,
        code: 'SANDBOX_UNAVAILABLE',
        message: `the sandbox went away while it read the plugin's manifest: ${outcome.message}`,
        stack: '',
      };
    default:
      return assertNever(outcome);
  }
}

function manifestOf(outputsJson: string): InspectResult {
  const parsed = parseJson(outputsJson);
  const checked = parsed.ok ? checkManifest(parsed.value) : parsed;
  if (checked.ok) return checked;
  return { ok: false, code: 'PLUGIN_INVALID', message: `the manifest is not valid: ${checked.problem}`, stack: '' };
}

function failureOf(code: ErrorCode, message: string, stack: string): InspectFailure {
  if (errorInfo(code).fault !== 'limit') return { ok: false, code, message, stack };
  return {
    ok: false,
    code,
    message: `${message}. That was the plugin's top level, which runs to read its manifest: it may only declare things; move the work into start() or run()`,
    stack,
  };
}
