/**
 * The engine as a library: what `@flowops/cli/engine` exports, told in docs/library.md. Joins the embedded engine with
 * the folder of plugins, which is the SDK's and loaded only for one.
 */
import type { EngineOptions, FlowEngine } from '@flowops/engine/embedded/api.ts';
import { createEngine as createEngineFrom } from '@flowops/engine/embedded/create-engine.ts';

export type {
  EngineOptions,
  EventsOptions,
  Flow,
  FlowEngine,
  FlowInput,
  FlowRun,
  FlowStep,
  RunResult,
  StartOptions,
  StepError,
  StepLogLine,
  StepProgress,
} from '@flowops/engine/embedded/api.ts';
export type { EngineSettingName, EngineSettings } from '@flowops/engine/embedded/engine-settings.ts';
export { readFlow } from '@flowops/engine/embedded/read-flow.ts';
export type { Log } from '@flowops/engine/log.ts';
export { type ErrorCode, FlowopsError } from '@flowops/proto/errors.ts';
export type { PluginSource } from '@flowops/proto/plugin-source.ts';
export type { FlowStatus, FlowStatusEvent, StatusEvent, StepStatus, StepStatusEvent } from '@flowops/proto/statuses.ts';

/**
 * Starts an engine in this process: runs are kept in `home`, steps run in a sandbox that it starts as a child process.
 * Close it, or use `await using`; what had not ended then can be taken up by the next.
 *
 * ```ts
 * const engine = await createEngine({ home: './.flowops', plugins: './plugins', policy: 'developer' });
 * const run = await engine.start({ flowId: 'hello', steps: [{ stepId: 'greet', pluginId: 'my.hello' }] });
 * for await (const event of run.events()) console.log(event.eventType, event.status);
 * console.log((await run.result()).outputs);
 * await engine.close();
 * ```
 *
 * @throws FlowopsError CONFIG_INVALID for what has to be changed: a setting, the policy, the plugin folder;
 *   SANDBOX_UNAVAILABLE for what a later try may find
 */
export function createEngine(options: EngineOptions): Promise<FlowEngine> {
  return createEngineFrom(options, {
    async openPluginFolder(dir, folderOptions) {
      const { openPluginFolder } = await import('@flowops/sdk/registry/plugin-folder.ts');
      return openPluginFolder(dir, folderOptions);
    },
  });
}
