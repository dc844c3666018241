/** Main file of a sandbox host for one case: everything is the product's, but its workers are escaped-worker.ts. */
import { mkdtemp, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ownModule } from '@flowops/proto/own-module.ts';
import { pino } from 'pino';
import { openApp } from '../app.ts';
import { readConfig } from '../config.ts';
import { openSecrets } from '../host-calls/open-secrets.ts';

const PARENT_FD = 3;

const config = await readConfig(process.env, process.argv.slice(2));
const log = pino({ name: 'sandbox', level: config.logLevel }, pino.destination({ fd: 2, sync: true }));
const folder = await mkdtemp(path.join(tmpdir(), 'escaped-worker-'));
const app = await openApp({ config, log, workerFiles, secrets: await openSecrets(config, process.stdin) });
await app.serve(new Socket({ fd: PARENT_FD, readable: true, writable: true }));
await app.close();
await rm(folder, { recursive: true, force: true });

/** One file, as the jail holds it. esbuild is there wherever plugins are built. */
async function workerFiles(): Promise<{ entry: string }> {
  const { build } = await import('esbuild');
  const entry = path.join(folder, 'worker.mjs');
  await build({
    entryPoints: [fileURLToPath(ownModule('./escaped-worker', import.meta.url))],
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile: entry,
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    logLevel: 'silent',
  });
  return { entry };
}
