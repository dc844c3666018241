/** From how an attempt ended at the sandbox host to what the core is told. Outputs are checked here once more: the host is trusted, what it carried is not. */
import type { AttemptOutcome } from '@flowops/proto/attempt.ts';
import { errorInfo } from '@flowops/proto/errors.ts';
import { isJsonObject, type Json, parseJson } from '@flowops/proto/json.ts';
import type { ValueType } from '@flowops/proto/manifest.ts';
import type { PinnedPlugin } from '../scheduler/definition.ts';
import type { AttemptEnd } from '../scheduler/events.ts';

export function readAttemptEnd(outcome: AttemptOutcome, plugin: PinnedPlugin): AttemptEnd {
  switch (outcome.status) {
    case 'COMPLETED':
      return readOutputs(outcome.outputsJson, plugin);
    case 'FAILED':
      return {
        kind: 'failed',
        code: outcome.code,
        message: outcome.message,
        isRetryable: outcome.retryable && errorInfo(outcome.code).retryable,
      };
    case 'CANCELLED':
      return { kind: 'cancelled' };
    case 'LOST':
      return { kind: 'lost', message: outcome.message, aliveForMs: outcome.aliveForMs };
  }
}

function readOutputs(text: string, plugin: PinnedPlugin): AttemptEnd {
  const parsed = parseJson(text);
  if (!parsed.ok) return invalid(`the outputs are not JSON: ${parsed.problem}`);
  if (!isJsonObject(parsed.value)) return invalid('the outputs are not a JSON object');
  const outputs: [string, string][] = [];
  for (const [key, declared] of Object.entries(plugin.outputs)) {
    const value = Object.hasOwn(parsed.value, key) ? parsed.value[key] : undefined;
    if (value === undefined) return invalid(`output ${key} (${declared.type}) of ${plugin.name} was not set`);
    if (!hasType(value, declared.type)) {
      return invalid(
        `output ${key} of ${plugin.name} must be ${declared.type}, not ${JSON.stringify(value).slice(0, 80)}`,
      );
    }
    outputs.push([key, JSON.stringify(value)]);
  }
  return { kind: 'completed', outputs };
}

function hasType(value: Json, type: ValueType): boolean {
  switch (type) {
    case 'string':
      return typeof value === 'string';
    case 'integer':
      return Number.isSafeInteger(value);
    case 'float':
      return typeof value === 'number';
    case 'boolean':
      return typeof value === 'boolean';
    case 'json':
      return true;
  }
}

function invalid(message: string): AttemptEnd {
  return { kind: 'failed', code: 'OUTPUT_INVALID', message, isRetryable: false };
}
