/** The image of worker containers with hostile-worker.ts in place of the worker: what native code could do there. */
import { randomUUID } from 'node:crypto';
import { copyFileSync, mkdtempSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { docker } from '../../bin/image/docker-cli.ts';
import { type DockerService, workerImage } from '../services/docker.ts';
import { scratchFolder } from '../services/scratch.ts';
import { nativeAddon } from './hostile-host-process.ts';

const PROGRAM = path.join(import.meta.dirname, '..', 'fixtures', 'sandbox', 'hostile-worker.ts');
const BUILD_TIMEOUT_MS = 180_000;

/** Its name. Whoever made it removes it. */
export async function hostileWorkerImage(service: DockerService): Promise<string> {
  const folder = mkdtempSync(path.join(scratchFolder(), 'hostile-worker-'));
  await build({
    entryPoints: [PROGRAM],
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile: path.join(folder, 'worker.mjs'),
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  });
  const addon = nativeAddon();
  if (addon !== undefined) copyFileSync(addon, path.join(folder, 'syscall.node'));
  writeFileSync(
    path.join(folder, 'Dockerfile'),
    `FROM ${await workerImage(service)}\nCOPY worker.mjs syscall.nod[e] /worker/\n`,
  );
  const image = `flowops/isolate-hostile:${randomUUID()}`;
  const built = await docker({ host: service.host, say: () => {} }, ['build', '-q', '-t', image, folder], {
    timeoutMs: BUILD_TIMEOUT_MS,
  });
  if (!built.ok) throw new Error(`the image of the hostile worker cannot be built:\n${built.problem}`);
  return image;
}
