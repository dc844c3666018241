/** What the check of a queued run's flow means for the run: a definition to begin with, or the reason why it cannot. */
import { type ErrorCode, messageOf } from '@flowops/proto/errors.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import { describeProblems } from '../scheduler/plan.ts';
import type { RunRef } from '../store/run-store.ts';
import { planStart } from './planning.ts';
import type { RunContext } from './run-context.ts';
import type { RunMessage } from './turn.ts';

/** Never rejects; undefined when the engine closes. */
export async function judgeStart(
  ref: RunRef,
  { steps, inputs }: { readonly steps: unknown; readonly inputs: JsonObject },
  { plugins, signal, log, clock, pause }: RunContext,
): Promise<RunMessage | undefined> {
  const reject = (code: ErrorCode, message: string): RunMessage => {
    return { kind: 'event', event: { type: 'reject', code, message } };
  };
  try {
    const planned = await planStart({ steps, inputs, plugins, signal, clock, pause });
    if (!planned.ok) return reject(planned.code, describeProblems(planned.problems));
    for (const warning of planned.warnings) log.warn({ ...ref }, warning);
    return { kind: 'planned', definition: planned.definition };
  } catch (thrown) {
    if (signal.aborted) return undefined;
    log.error({ ...ref, err: thrown }, 'planning failed');
    return reject('FLOW_INVALID', `the flow could not be checked: ${messageOf(thrown)}`);
  }
}
