/**
 * Used when a runner's files are written: `node write-caches.ts FOLDER` makes V8's code caches of them in a warm-up. The
 * prelude's is made in this process; the program's by a runner that is started as in a container, given one step of
 * ours, and writes it at its end. A step then finds what it needs compiled. Only code of ours runs.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { Duplex } from 'node:stream';
import { digestOf } from '@flowops/proto/ids.ts';
import { formatManifestLine, manifestSchema } from '@flowops/proto/manifest.ts';
import { Peer } from '@flowops/proto/peer.ts';
import { Purpose } from '@flowops/proto/sandbox_pb.js';
import { warmedCache } from '../../guest/warmed-cache.ts';
import { PRELUDE_CACHE_FILE, PRELUDE_FILE, PRELUDE_NAME, PROGRAM_CACHE_FILE, readText, START_FILE } from './files.ts';

/** A second is usual, on a busy machine some. */
const WARM_UP_MS = 60_000;
const TASK = `export default { [Symbol.for('flowops.task')]: {
  api: 1, name: 'warm.up', version: '1.0.0', description: '', permissions: { net: [], secrets: [] },
  inputs: { x: { type: 'integer', field: 'x', required: true } }, outputs: { o: { type: 'json', field: 'o' } },
}, async run({ inputs, logger }) {
  logger.info('a', { b: 1 });
  await new Promise((resolve) => setTimeout(resolve, 1));
  return { o: inputs.x };
} };
`;

const folder = process.argv[2];
if (folder === undefined) throw new Error('give the folder of the files');
const preludeCache = await warmedCache(readText(folder, PRELUDE_FILE), PRELUDE_NAME);
if (preludeCache === undefined) throw new Error('the prelude did not run');
writeFileSync(path.join(folder, PRELUDE_CACHE_FILE), preludeCache);
await warmProgram(path.join(folder, START_FILE), path.join(folder, PROGRAM_CACHE_FILE));

async function warmProgram(startFile: string, cacheFile: string): Promise<void> {
  const child = spawn(process.execPath, ['--disable-sigusr1', startFile, '0', '1', '1', '--keep-cache', cacheFile], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {},
    signal: AbortSignal.timeout(WARM_UP_MS),
  });
  const ended = once(child, 'exit');
  const peer = new Peer({
    stream: Duplex.from({ readable: child.stdout, writable: child.stdin }),
    side: 'caller',
    role: 'host',
    instance: 'build',
    accepts: ['step-runner'],
    onOpen: () => sendStep(peer),
    onMessage: (message) => {
      if (message.case !== 'result') return;
      const { code, token } = message.value;
      if (code !== '') throw new Error(`the step of the warm-up ended with ${code}: ${message.value.message}`);
      peer.send({ case: 'resultAck', value: { token } });
    },
  });
  const [code] = await ended;
  if (code !== 0) throw new Error(`the runner of the warm-up ended with ${String(code)}`);
}

function sendStep(peer: Peer): void {
  const manifest = manifestSchema.parse({
    name: 'warm.up',
    version: '1.0.0',
    inputs: { x: { type: 'integer' } },
    outputs: { o: { type: 'json' } },
  });
  const data = Buffer.from(`${formatManifestLine(manifest)}${TASK}`);
  const digest = digestOf(data);
  const limits = { memoryMb: 128, cpuMs: WARM_UP_MS, wallMs: WARM_UP_MS };
  peer.send({ case: 'putBundle', value: { digest, totalBytes: BigInt(data.length), offset: 0n, data } });
  peer.send({
    case: 'invoke',
    value: {
      token: randomBytes(16),
      purpose: Purpose.RUN,
      ...{ flowId: 'build', runId: 'build', stepId: 'warm-up', attempt: 1, idempotencyKey: 'build' },
      pluginId: manifest.name,
      pluginVersion: manifest.version,
      digest,
      inputsJson: Buffer.from('{"x":1}'),
      limits: { ...limits, outputBytes: 1024, logBytes: 1024, hostCalls: 1 },
    },
  });
}
