/**
 * Plugins with `runtime: "node"` in real containers: whatever they do with Node's own modules, with their process and
 * with the runner's descriptors, the step ends soon, with its code, and not by its wall limit.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type DockerService, startDocker } from '../services/docker.ts';
import { codeOf, openTierOn, RUNTIMES, type TierUnderTest, untilNone } from '../support/container-tier.ts';
import { skipBecause } from '../support/skip.ts';

/** Nothing here takes a second by itself; a busy machine may need many for a start, which do not count. */
const LIMITS = { wallMs: 30_000, cpuMs: 30_000 };

let docker: DockerService;
beforeAll(async () => {
  docker = await startDocker();
}, 300_000);
afterAll(() => docker.stop());

let world: TierUnderTest | undefined;
afterEach(async () => {
  await world?.tier.close();
  if (world !== undefined) await untilNone(docker, world.instance);
});

type Case<Expected> = readonly [what: string, expected: Expected, body: string, prologue?: string];

const COMPLETING: readonly Case<unknown>[] = [
  [
    "imports every one of Node's modules, but for the one that no thread has",
    ['trace_events ERR_TRACE_EVENTS_UNAVAILABLE'],
    `const refused = [];
    for (const name of builtinModules) await import(name).catch((error) => refused.push(name + ' ' + error.code));
    return { o: refused };`,
    "import { builtinModules } from 'node:module';",
  ],
  [
    'uses files, streams, digests and Buffer',
    [4000, 'SfaK', 'w6k=', '/tmp'],
    `const file = path.join(os.tmpdir(), 'a.txt'); fs.writeFileSync(file, 'hi'.repeat(2000));
    await pipeline(fs.createReadStream(file), zlib.createGzip(), fs.createWriteStream(file + '.gz'));
    const digest = createHash('md5').update('hi').digest('base64').slice(0, 4);
    return { o: [zlib.gunzipSync(fs.readFileSync(file + '.gz')).length, digest, Buffer.from('é').toString('base64'), os.tmpdir()] };`,
    `import { createHash } from 'crypto'; import * as fs from 'node:fs'; import os from 'os'; import path from 'node:path';
    import { pipeline } from 'node:stream/promises'; import zlib from 'node:zlib';`,
  ],
  [
    'opens sockets, which lead nowhere',
    ['EAI_AGAIN', true, 'POLICY_DENIED'],
    `const lookup = await new Promise((got) => dns.lookup('example.com', got));
    const connected = await new Promise((got) => net.connect(443, '192.0.2.1').on('connect', got).on('error', got));
    const fetched = await fetch('https://example.com/').catch((error) => error);
    return { o: [lookup.code, /^EPERM$|UNREACH$/.test(connected.code), fetched.code] };`,
    "import dns from 'node:dns'; import net from 'node:net';",
  ],
  [
    'awaits at its top level',
    3,
    'return { o: n };',
    `import fs from 'node:fs'; import { setTimeout as sleep } from 'node:timers/promises';
    await sleep(5); await new Promise((go) => setImmediate(go)); const n = (await import('node:path')).join('a', 'b').length + fs.readFileSync(0).length;`,
  ],
  [
    'has a thread of its own',
    7,
    `const { Worker } = await import('node:worker_threads');
    const thread = new Worker("require('node:worker_threads').parentPort.postMessage(7)", { eval: true });
    return { o: await new Promise((got, failed) => thread.on('message', got).on('error', failed)) };`,
  ],
  [
    'leaves a thread that never ends',
    1,
    `const { Worker } = await import('node:worker_threads');
    await new Promise((go) => new Worker('for (;;);', { eval: true }).on('online', go)); return { o: 1 };`,
  ],
  [
    'has children, but no shell to run them in',
    ['ENOENT', '4\n', 0],
    `const { spawn, spawnSync } = await import('node:child_process');
    const child = spawn(process.execPath, ['-p', '4'], { stdio: ['ignore', 'pipe', 'ignore'] }); let said = '';
    child.stdout.on('data', (text) => { said += text; });
    const code = await new Promise((got) => child.on('close', got));
    return { o: [spawnSync('/bin/sh', ['-c', 'true']).error?.code, said, code] };`,
  ],
  [
    'leaves a detached child that never ends',
    1,
    `const { spawn } = await import('node:child_process');
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { detached: true, stdio: 'ignore' });
    child.unref(); await new Promise((go) => child.on('spawn', go)); return { o: 1 };`,
  ],
  [
    'prints megabytes to stdout and stderr, waiting and not',
    1,
    `const text = 'x'.repeat(65536);
    for (let i = 0; i < 100; i++) { process.stdout.write(text); process.stderr.write(text); }
    for (let i = 0; i < 20; i++) await new Promise((go) => process.stdout.write(text, go));
    return { o: 1 };`,
  ],
  [
    'reads its stdin to the end',
    [0, 0],
    `let length = 0; for await (const chunk of process.stdin) length += chunk.length;
    return { o: [length, (await import('node:fs')).readFileSync(0).length] };`,
  ],
  [
    'reads from the descriptor of its host',
    true,
    `const fs = await import('node:fs');
    try { fs.readSync(3, Buffer.alloc(1)); return { o: 'read' }; } catch (error) { return { o: error.code === 'EAGAIN' }; }`,
  ],
];

const ENDING: readonly Case<string>[] = [
  ['ends its process at its top level', 'SANDBOX_CRASHED', 'return {};', 'process.exit(5);'],
  ['ends its process at once', 'SANDBOX_CRASHED', 'process.exit(0);'],
  ['ends its process later', 'SANDBOX_CRASHED', 'setTimeout(() => process.exit(0), 5); await new Promise(() => {});'],
  [
    'ends its process in the middle of a host call',
    'SANDBOX_CRASHED',
    "context.secret('A').catch(() => {}); process.exit(4);",
  ],
  [
    'ends its process while it logs',
    'SANDBOX_CRASHED',
    "process.on('exit', () => { for (let i = 0; i < 9; i++) console.log('bye'); }); process.exit(4);",
  ],
  ['kills its process', 'SANDBOX_CRASHED', "process.kill(process.pid, 'SIGKILL');"],
  ['closes the descriptor to its host', 'SANDBOX_CRASHED', "(await import('node:fs')).closeSync(4); return { o: 1 };"],
  ['rejects what nobody handles', 'PLUGIN_ERROR', "Promise.reject(new Error('late')); await new Promise(() => {});"],
  [
    'rejects at its top level what nobody handles',
    'PLUGIN_ERROR',
    'return {};',
    "Promise.reject(new Error('late')); await new Promise(() => {});",
  ],
  [
    'rejects, after it took away who tells',
    'SANDBOX_CRASHED',
    `process.removeAllListeners('unhandledRejection'); process.removeAllListeners('uncaughtException');
    Promise.reject(new Error('late')); await new Promise(() => {});`,
  ],
];

describe.each(RUNTIMES)('in a container of %s, a plugin for Node that', (runtime) => {
  beforeEach((context) => {
    if (!docker.runtimes.includes(runtime)) skipBecause(context, `this Docker has no ${runtime}`);
    world = openTierOn(docker, runtime);
  });

  const run = (body: string, prologue?: string) => {
    if (world === undefined) throw new Error('no tier was opened');
    return world.start(body, { isNode: true, limits: LIMITS, ...(prologue === undefined ? {} : { prologue }) }).run
      .ended;
  };

  it.for(COMPLETING)('%s completes', async ([, expected, body, prologue]) => {
    const { outcome } = await run(body, prologue);
    expect(outcome).toMatchObject({ status: 'COMPLETED' });
    if (outcome.status === 'COMPLETED')
      expect(JSON.parse(Buffer.from(outcome.outputsJson).toString())).toEqual({ o: expected });
  });

  it.for(ENDING)('%s ends with %s', async ([, code, body, prologue]) => {
    expect(codeOf(await run(body, prologue))).toBe(code);
  });

  it('is started many times at once is never stuck', async () => {
    const body = "const { cpus } = await import('node:os'); return { o: cpus().length > 0 };";
    const prologue = "import 'node:fs'; await new Promise((go) => setImmediate(go));";
    const ends = await Promise.all(Array.from({ length: 8 }, () => run(body, prologue)));
    expect(ends.map(codeOf)).toEqual(ends.map(() => 'COMPLETED'));
  });
});
