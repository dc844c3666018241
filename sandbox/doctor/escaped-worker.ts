/**
 * A worker whose guest has already left its isolate: with all that a process in the jail has, it looks for what lies
 * outside and tells what it found as the step's outputs, or does what its inputs say, lies about code caches included. Bundled into one file and started
 * in the real jail by escaped-host.ts.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net, { Socket } from 'node:net';
import { Peer } from '@flowops/proto/peer.ts';
import { type Invoke, type PutBundle, Status } from '@flowops/proto/sandbox_pb.js';

const HOST_FD = 3;
const CONNECT_MS = 500;
const SOCKETS = [
  '/var/run/docker.sock',
  '/run/docker.sock',
  '/run/containerd/containerd.sock',
  '/run/redis/redis.sock',
];
/** Redis, Kafka, Docker, gRPC, the inspector of Node. */
const PORTS = [6379, 9092, 2375, 9091, 9229];

/** What it makes of a bundle while it is asked to, and what it says that it made once it ran a step. */
const HONEST_CACHE = Buffer.from('made before any step');
const FALSE_CACHE = Buffer.from('made after a guest had');
/** What the host gave it, by digest. */
const caches = new Map<string, string>();

const stream = new Socket({ fd: HOST_FD, readable: true, writable: true });
const peer = new Peer({
  stream,
  side: 'runner',
  role: 'isolate-worker',
  instance: 'escaped',
  accepts: ['host'],
  capabilities: ['v8 escaped'],
  onMessage: (message) => {
    if (message.case === 'putBundle') takeBundle(message.value);
    if (message.case === 'invoke') void act(message.value);
  },
  onClosed: () => process.exit(0),
});

function takeBundle({ digest, codeCache, makeCodeCache, offset }: PutBundle): void {
  if (offset === 0n) caches.set(digest, Buffer.from(codeCache).toString());
  if (makeCodeCache) peer.send({ case: 'codeCache', value: { digest, data: HONEST_CACHE } });
}

async function act({ token, inputsJson, digest }: Invoke): Promise<void> {
  peer.send({ case: 'started', value: { token } });
  const order = Buffer.from(inputsJson).toString('utf8');
  if (order.includes('burn')) return burn(token);
  if (order.includes('lie')) peer.send({ case: 'codeCache', value: { digest, data: FALSE_CACHE } });
  const isAsked = order.includes('cache') || order.includes('lie');
  const found = isAsked ? [caches.get(digest)] : [...files(), ...processes(), ...programs(), ...(await connections())];
  const receiptJson = Buffer.from(JSON.stringify({ cpuMs: 0, heapBytes: 0, runMs: 0 }));
  const outputsJson = Buffer.from(JSON.stringify({ found }));
  peer.send({ case: 'result', value: { token, status: Status.COMPLETED, outputsJson, receiptJson } });
}

/** Says of itself that it took nothing. */
function burn(token: Uint8Array): void {
  setInterval(() => {
    const until = performance.now() + 40;
    while (performance.now() < until);
    peer.send({ case: 'progress', value: { token, fraction: 0, message: '0 ms of CPU' } });
  }, 45);
}

function attempt(call: () => unknown): boolean {
  try {
    return call() !== undefined;
  } catch {
    return false;
  }
}

function files(): string[] {
  const found: string[] = [];
  for (const file of ['/etc/passwd', '/etc/shadow', '/root', '/home', '/var', '/usr/bin/sh', '/bin/sh']) {
    if (fs.existsSync(file)) found.push(`there is ${file}`);
  }
  for (const file of ['/x', '/app/x', '/tmp/x', '/dev/shm/x', '/node', '/proc/sys/kernel/core_pattern']) {
    if (attempt(() => fs.writeFileSync(file, 'x') ?? true)) found.push(`wrote ${file}`);
  }
  if (Object.keys(process.env).some((name) => !['PWD', 'OLDPWD', '_'].includes(name))) found.push('variables');
  return found;
}

/** Of others: where /proc is not mounted, or is of this namespace alone, there are none. */
function processes(): string[] {
  const found: string[] = [];
  const pids = fs.existsSync('/proc') ? fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)) : [];
  for (const pid of pids) {
    if (Number(pid) === process.pid) continue;
    for (const file of ['environ', 'mem', 'maps']) {
      if (attempt(() => fs.readFileSync(`/proc/${pid}/${file}`))) found.push(`read ${file} of process ${pid}`);
    }
  }
  for (const pid of [process.ppid, 1, 2, 100]) {
    if (pid === process.pid || pid === 0) continue;
    if (attempt(() => process.kill(pid, 'SIGUSR1'))) found.push(`signalled process ${pid}`);
  }
  return found;
}

function programs(): string[] {
  return ['/bin/sh', '/node', process.execPath].filter((file) =>
    attempt(() => (spawnSync(file, ['-e', '0']).status === 0 ? true : undefined)),
  );
}

async function connections(): Promise<string[]> {
  const found: string[] = [];
  const reach = (what: string, options: net.NetConnectOpts): Promise<void> =>
    new Promise((resolve) => {
      try {
        const socket = net.connect(options);
        const end = (): void => {
          socket.destroy();
          resolve();
        };
        setTimeout(end, CONNECT_MS).unref();
        socket.once('connect', () => {
          found.push(`reached ${what}`);
          end();
        });
        socket.once('error', end);
      } catch {
        resolve();
      }
    });
  await Promise.all([
    ...SOCKETS.map((path) => reach(path, { path })),
    ...PORTS.flatMap((port) => ['127.0.0.1', '::1'].map((host) => reach(`${host}:${port}`, { host, port }))),
    reach('the metadata address', { host: '169.254.169.254', port: 80 }),
  ]);
  return found;
}
