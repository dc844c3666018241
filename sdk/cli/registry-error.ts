/** What a registry did not do, as the error that ends a command. */
import { assertNever, type ErrorCode, FlowopsError } from '@flowops/proto/errors.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import type { RegistryFailure, RegistryFailureReason } from '../registry/registry-client.ts';

export function registryError({ reason, message }: RegistryFailure): FlowopsError {
  return new FlowopsError(codeOf(reason), showControls(message));
}

function codeOf(reason: RegistryFailureReason): ErrorCode {
  switch (reason) {
    case 'unavailable':
      return 'SANDBOX_UNAVAILABLE';
    case 'invalid-bundle':
    case 'exists':
    case 'taken':
      return 'PLUGIN_INVALID';
    case 'not-found':
      return 'PLUGIN_NOT_FOUND';
    case 'usage':
    case 'unsupported':
      return 'USAGE_INVALID';
    default:
      return assertNever(reason);
  }
}
