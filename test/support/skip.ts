/**
 * How a test says that this machine cannot run it. The reason reaches the report, and `npm test` prints it; a test
 * skipped any other way counts as failed there. What is known before the test begins is said beside it:
 * `it.runIf(isLinux)('…', { meta: { skipReason: 'needs Linux namespaces' } }, …)`.
 */
import type { TestContext } from 'vitest';

declare module 'vitest' {
  interface TaskMeta {
    skipReason?: string;
  }
}

export function skipBecause(context: TestContext, reason: string): never {
  context.task.meta.skipReason = reason;
  return context.skip(reason);
}
