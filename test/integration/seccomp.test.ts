/**
 * The seccomp profile of step containers in a container on runc: what native code cannot call, and that Node misses
 * nothing. gVisor takes no profile; what its guests can do to the host is asked in test/adversarial.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DockerService, startDocker } from '../services/docker.ts';
import { probeImage } from '../services/docker-probe.ts';
import { script, TestContainer } from '../support/container.ts';

/** Everything else that the probe tries is to be refused. */
const LET_THROUGH = ['socket-unix', 'clone-plain', 'prlimit-self', 'getpid', 'end'];
/** SIGSYS: a call by another table of numbers is not refused but ends its process. */
const OTHER_TABLE = 'killed-by-31';
const OTHER_TABLES = process.arch === 'x64' ? ['i386-getpid', 'x32-getpid'] : [];

/** Each part prints what it did; Node's own test of what a filter that is too narrow would break. */
const WORK = `
  import { spawnSync } from 'node:child_process';
  import { randomBytes, scryptSync, subtle } from 'node:crypto';
  import fs from 'node:fs';
  import net from 'node:net';
  import { Worker } from 'node:worker_threads';
  import { gzipSync, gunzipSync } from 'node:zlib';
  const done = {};
  done.thread = await new Promise((resolve, reject) => {
    const code = 'import { parentPort } from "node:worker_threads"; parentPort.postMessage(6 * 7)';
    new Worker(code, { eval: true }).once('message', resolve).once('error', reject);
  });
  const bytes = new Uint8Array([0,97,115,109,1,0,0,0,1,5,1,96,0,1,127,3,2,1,0,7,5,1,1,102,0,0,10,6,1,4,0,65,42,11]);
  done.wasm = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.f();
  done.child = spawnSync(process.execPath, ['-p', '6*7']).stdout.toString().trim();
  fs.mkdirSync('/tmp/a/b', { recursive: true });
  fs.writeFileSync('/tmp/a/b/f', 'text');
  fs.copyFileSync('/tmp/a/b/f', '/tmp/a/g');
  fs.cpSync('/tmp/a', '/tmp/c', { recursive: true });
  fs.symlinkSync('/tmp/c/g', '/tmp/link');
  fs.chmodSync('/tmp/c/g', 0o600);
  fs.utimesSync('/tmp/c/g', 1, 1);
  fs.renameSync('/tmp/c/b', '/tmp/c/d');
  done.files = [fs.readFileSync('/tmp/link', 'utf8'), fs.statSync('/tmp/c/g').mtimeMs, fs.readdirSync('/tmp/c').join()];
  await fs.promises.rm('/tmp/a', { recursive: true });
  done.watch = await new Promise((resolve) => {
    const watcher = fs.watch('/tmp/c', () => { watcher.close(); resolve('changed'); });
    fs.writeFileSync('/tmp/c/new', '');
  });
  done.unix = await new Promise((resolve, reject) => {
    const server = net.createServer((socket) => socket.end('hello')).listen('/tmp/s', () => {
      net.connect('/tmp/s').on('error', reject).on('data', (data) => { server.close(); resolve(String(data)); });
    });
  });
  done.tcp = await new Promise((resolve) => net.connect(80, '127.0.0.1').on('error', ({ code }) => resolve(code)));
  done.crypto = [randomBytes(8).length, scryptSync('a', 'b', 8).length, (await subtle.digest('SHA-256', new Uint8Array(1))).byteLength];
  done.zip = gunzipSync(gzipSync('text')).toString();
  done.memory = Buffer.alloc(50_000_000, 1).length + new SharedArrayBuffer(1_000_000).byteLength;
  const timer = new Promise((resolve) => setTimeout(resolve, 5, 'fired'));
  done.timer = await timer;
  console.log('done ' + JSON.stringify(done));
  process.exit(0);
`;

let service: DockerService;

beforeAll(async () => {
  service = await startDocker();
}, 300_000);
afterAll(() => service?.stop());

describe('the seccomp profile of step containers', () => {
  it('refuses what a step has no use for, each of its calls, and other tables of calls', async () => {
    const results = await run(['/probe', 'calls'], await probeImage(service));
    const expected = Object.fromEntries(
      [...results.keys()].map((name) => {
        if (LET_THROUGH.includes(name)) return [name, 'ok'];
        if (OTHER_TABLES.includes(name)) return [name, OTHER_TABLE];
        return [name, name === 'clone3' ? 'ENOSYS' : 'EPERM'];
      }),
    );
    expect(Object.fromEntries(results)).toEqual(expected);
    for (const name of [
      'ptrace',
      'memfd_create',
      'io_uring_setup',
      'bpf',
      'keyctl',
      'socket-inet',
      'end',
      ...OTHER_TABLES,
    ]) {
      expect(results.has(name), name).toBe(true);
    }
  });

  it('lets Node do its work: threads, WebAssembly, child processes, files, unix sockets, cryptography', async () => {
    const results = await run(script(WORK), service.image);
    expect(JSON.parse(results.get('done') ?? 'null')).toEqual({
      thread: 42,
      wasm: 42,
      child: '42',
      files: ['text', 1000, 'd,g'],
      watch: 'changed',
      unix: 'hello',
      tcp: 'EPERM',
      crypto: [8, 8, 32],
      zip: 'text',
      memory: 51_000_000,
      timer: 'fired',
    });
  });
});

/** What the program printed: `NAME RESULT` a line. */
async function run(program: readonly string[], image: string): Promise<ReadonlyMap<string, string>> {
  const container = new TestContainer({ service, runtime: 'runc', image, program });
  try {
    expect(await container.ended(), container.stderr).toBe(0);
    const lines = container.stderr.split('\n').map((line) => /^(\S+) (.+?)\r?$/.exec(line));
    return new Map(lines.flatMap((match) => (match === null ? [] : [[match[1] ?? '', match[2] ?? '']])));
  } finally {
    await container.remove();
  }
}
