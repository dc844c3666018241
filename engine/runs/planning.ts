/**
 * From a START as it came to a definition: reads the steps, asks the plugin source for each plugin once, all at the
 * same time, and lets plan.ts judge. A source that does not answer is asked again for a bounded time; meanwhile the
 * run is queued and nothing else waits (design 4.3, no head of the line).
 */
import { parseSteps, type WrittenStep } from '@flowops/proto/flow.ts';
import type { JsonObject } from '@flowops/proto/json.ts';
import type { PluginSource, ResolveResult } from '@flowops/proto/plugin-source.ts';
import type { Clock } from '../base/clock.ts';
import type { Pause } from '../base/pause.ts';
import { type PlanResult, planFlow, pluginKey } from '../scheduler/plan.ts';

/** How long a START waits for a plugin service that does not answer, ms. */
export const PLANNING_DEADLINE_MS = 30_000;
const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 5_000;
/** Plugins of one flow that are resolved at the same time. */
const MAX_CONCURRENT_RESOLVES = 16;

export interface PlanOptions {
  readonly steps: unknown;
  readonly inputs: JsonObject;
  readonly plugins: PluginSource;
  readonly clock: Clock;
  readonly pause: Pause;
  readonly signal: AbortSignal;
  readonly deadlineMs?: number;
}

/** Never rejects but when the signal aborts. */
export async function planStart(options: PlanOptions): Promise<PlanResult> {
  const { inputs, plugins, signal, clock, pause } = options;
  const parsed = parseSteps(options.steps);
  const unreadable = parsed.ok ? {} : { unreadable: { problems: parsed.problems, ids: parsed.unreadable } };
  const deadlineMs = clock.nowMs() + (options.deadlineMs ?? PLANNING_DEADLINE_MS);
  const resolved = new Map<string, ResolveResult>();
  for (let attempt = 0; ; attempt++) {
    await resolveMissing(parsed.steps, resolved, plugins, signal);
    signal.throwIfAborted();
    const isSourceDown = [...resolved.values()].some(isUnanswered);
    if (!isSourceDown || clock.nowMs() > deadlineMs) {
      return planFlow({ steps: parsed.steps, ...unreadable, inputs, plugins: resolved });
    }
    await pause(Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt), signal);
    for (const [key, result] of resolved) if (isUnanswered(result)) resolved.delete(key);
  }
}

async function resolveMissing(
  steps: readonly WrittenStep[],
  resolved: Map<string, ResolveResult>,
  plugins: PluginSource,
  signal: AbortSignal,
): Promise<void> {
  const wanted = new Map<string, WrittenStep>();
  for (const step of steps) {
    const key = pluginKey(step);
    if (step.pluginId !== undefined && !resolved.has(key)) wanted.set(key, step);
  }
  const queue = [...wanted];
  const workers = Array.from({ length: Math.min(MAX_CONCURRENT_RESOLVES, queue.length) }, async () => {
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      const [key, { pluginId = '', pluginVersion }] = next;
      resolved.set(key, await plugins.resolve(pluginId, pluginVersion, signal));
    }
  });
  await Promise.all(workers);
}

/** The source gave no answer, as opposed to a "no". */
function isUnanswered(result: ResolveResult): boolean {
  return !result.ok && result.code === 'SANDBOX_UNAVAILABLE';
}
