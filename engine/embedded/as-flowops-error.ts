/** What a caller of the library can be thrown: errors with a code. Bugs stay what they are. */
import { FlowopsError } from '@flowops/proto/errors.ts';
import { StoreDamaged, StoreUnavailable } from '../store/run-store.ts';

export function asFlowopsError(thrown: unknown): unknown {
  // A later try may work.
  if (thrown instanceof StoreUnavailable)
    return new FlowopsError('SANDBOX_UNAVAILABLE', thrown.message, { cause: thrown });
  if (thrown instanceof StoreDamaged) return new FlowopsError('CONFIG_INVALID', thrown.message, { cause: thrown });
  return thrown;
}
