/** An attempt that failed, as a program or a person is told of it: the frames are looked up only when they are asked for. */
import { errorFrames } from '@flowops/proto/error-frames.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import type { StepFailure } from '../runs/run-context.ts';
import type { RunRef } from '../store/run-store.ts';
import type { StepError } from './api.ts';

export interface StepErrorSource {
  readonly run: RunRef;
  readonly stepId: string;
  readonly failure: StepFailure;
  readonly plugins: PluginSource;
}

export function stepError({ run, stepId, failure, plugins }: StepErrorSource): StepError {
  const { code, message, stack, plugin } = failure;
  return { ...run, stepId, code, message, frames: () => framesOf(stack, plugin.digest, plugins) };
}

/** Never rejects: an error is shown without what cannot be read. */
async function framesOf(stack: string, digest: string, plugins: PluginSource): Promise<string> {
  if (stack === '') return '';
  const sourceMap = (await plugins.sourceMap(digest).catch(() => undefined)) ?? '';
  return await errorFrames(stack, { sourceMap, sourceFolder: plugins.sourceFolder?.(digest) });
}
