/**
 * What a plugin service answered, as the engine's codes and sentences: failed calls, refusals, and answers that do not
 * fit the question. Pure.
 */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import { assertNever } from '@flowops/proto/errors.ts';
import { printable } from '@flowops/proto/grpc-call.ts';
import { isPluginId } from '@flowops/proto/ids.ts';
import type { PluginMetadata } from '@flowops/proto/plugin_service_pb.js';
import { pluginVersionProblem } from '@flowops/proto/plugin-version.ts';
import { status } from '@grpc/grpc-js';
import type { FetchFailure } from './plugin-service-connection.ts';

export interface Failure {
  readonly ok: false;
  readonly code: ErrorCode;
  readonly message: string;
}

/** Which plugin a message is about. */
export function describePlugin(pluginId: string, version: string | undefined): string {
  const name = `plugin ${JSON.stringify(printable(pluginId, 128))}`;
  return version === undefined || version === '' ? name : `${name} ${printable(version, 80)}`;
}

/** What is wrong with the question itself; such a question is not sent. */
export function malformedQuestion(pluginId: string, version: string | undefined): string | undefined {
  if (!isPluginId(pluginId)) {
    return 'a pluginId is a UUID, or 1 to 128 characters of a-z 0-9 . _ - that begin with a letter or digit';
  }
  const problem = version === undefined ? undefined : pluginVersionProblem(version);
  return problem === undefined ? undefined : `the version ${problem}`;
}

/** The answer was read and is not to be used. */
export function invalidAnswer(what: string, address: string, problem: string): Failure {
  return {
    ok: false,
    code: 'PLUGIN_INVALID',
    message: `${what} from the plugin service at ${address} cannot be run: ${problem}`,
  };
}

/** A description of another plugin than the one asked for. */
export function wrongPlugin(metadata: PluginMetadata, pluginId: string): string | undefined {
  if (metadata.pluginId === '' || metadata.pluginId.toLowerCase() === pluginId.toLowerCase()) return undefined;
  return `it describes another plugin, ${JSON.stringify(printable(metadata.pluginId, 128))}`;
}

/**
 * Whether the service itself said no to the question asked, so that asking otherwise may help. That nothing is the latest
 * is an answer: every version may have been withdrawn, and asking for one by its id would bring it back.
 */
export function isWorthAskingOtherwise(failure: FetchFailure, version: string | undefined): boolean {
  const isNothingLatest = version === undefined && failure.kind === 'status' && failure.status === status.NOT_FOUND;
  return isRefusal(failure) && !isNothingLatest;
}

/** Whether the service itself said no. */
export function isRefusal(failure: FetchFailure): boolean {
  if (failure.kind !== 'status') return false;
  return [status.NOT_FOUND, status.INVALID_ARGUMENT, status.INTERNAL, status.UNKNOWN, status.OUT_OF_RANGE].includes(
    failure.status,
  );
}

export interface FailedCall {
  /** `host:port`. */
  readonly address: string;
  /** `plugin "core.http" 1.2.0`. */
  readonly what: string;
  readonly signal: AbortSignal;
}

/** A failed call as one of our codes, and a sentence that says where to look. */
export function explainFailure(failure: FetchFailure, { address, what, signal }: FailedCall): Failure {
  const failed = (code: ErrorCode, message: string): Failure => ({ ok: false, code, message });
  const service = `the plugin service at ${address} (PLUGIN_SERVICE_ADDRESS)`;
  switch (failure.kind) {
    case 'aborted':
      return abortedResult(signal, what);
    case 'too-large':
      return failed(
        'PLUGIN_INVALID',
        `${what}: ${service} answered with more than 16 MiB, the most a bundle may have; Java archives of the former engine do not run here`,
      );
    case 'unreadable':
      return failed(
        'PLUGIN_INVALID',
        `${what}: ${service} answered with bytes that are no message of its contract: ${failure.details}`,
      );
    case 'damaged':
      return failed('PLUGIN_INVALID', `${what}: ${service} is not to be believed: ${failure.details}`);
    case 'status':
      return explainStatus(failure.status, failure.details, what, service);
    default:
      return assertNever(failure);
  }
}

function explainStatus(code: status, details: string, what: string, service: string): Failure {
  const failed = (error: ErrorCode, message: string): Failure => ({ ok: false, code: error, message });
  switch (code) {
    case status.NOT_FOUND:
    case status.INVALID_ARGUMENT:
    case status.OUT_OF_RANGE:
      return failed('PLUGIN_NOT_FOUND', `${what} is not in ${service}: ${details}`);
    case status.FAILED_PRECONDITION:
      return failed('PLUGIN_INVALID', `${what} cannot be had from ${service}: ${details}`);
    case status.UNAVAILABLE:
      return failed('SANDBOX_UNAVAILABLE', `${what}: ${service} cannot be reached; is it running? (${details})`);
    case status.DEADLINE_EXCEEDED:
      return failed('SANDBOX_UNAVAILABLE', `${what}: ${service} did not answer in time (${details})`);
    case status.UNIMPLEMENTED:
      return failed('SANDBOX_UNAVAILABLE', `${what}: what answers at ${service} is no plugin service (${details})`);
    default:
      return failed('SANDBOX_UNAVAILABLE', `${what}: ${service} failed with ${status[code] ?? code}: ${details}`);
  }
}

/** What a caller gets whose signal fired: a time-out is the service's, anything else somebody's wish. */
export function abortedResult(signal: AbortSignal, what: string): Failure {
  const isTimeout = signal.reason instanceof Error && signal.reason.name === 'TimeoutError';
  if (!isTimeout) return { ok: false, code: 'CANCELLED', message: `${what}: nobody waits for it any more` };
  return {
    ok: false,
    code: 'SANDBOX_UNAVAILABLE',
    message: `${what}: the plugin service (PLUGIN_SERVICE_ADDRESS) did not answer in time`,
  };
}
