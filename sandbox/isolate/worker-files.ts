/** Where the worker's own bundle is: built on the first start of this copy of the sources, kept for later ones. */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { prepareIsolateAssets } from './assets.ts';
import type { WorkerFiles } from './jail.ts';
import { openPrivateFolder } from './private-folder.ts';

export async function workerFiles(): Promise<WorkerFiles> {
  const { folder } = await openPrivateFolder();
  // Two clones on one machine do not take each other's place.
  const clone = createHash('sha256')
    .update(import.meta.dirname)
    .digest('hex')
    .slice(0, 16);
  const { workerPath } = await prepareIsolateAssets(path.join(folder, `worker-${clone}`));
  return { entry: workerPath };
}
