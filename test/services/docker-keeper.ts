/**
 * The process that keeps the tests' own dockerd: `node docker-keeper.ts FOLDER`. Test runs connect to it, and each open
 * connection is a lease; when the last one is gone, for whatever reason, the daemon is stopped and this process ends.
 *
 * Only one runs for a folder: a second one waits for the end of the first. The images in FOLDER outlive it.
 */
import { createHash } from 'node:crypto';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '@flowops/proto/errors.ts';
import { withLock } from '../../bin/setup-lock.mjs';
import { hasProgram, type ServiceChild, startChild } from './child.ts';
import { keeperSocket } from './docker-lease.ts';

/** From one stage of `npm test` to the next; then it would start again, which takes two seconds. */
const LINGER_MS = 1_000;
/** Whoever started it connects at once. */
const FIRST_LEASE_MS = 10_000;
const READY_TIMEOUT_MS = 45_000;
const READY_POLL_MS = 50;
const PING_TIMEOUT_MS = 1_000;
/** No bridge and no rules: step containers have no network, and the machine's own is left as it is. */
const WITHOUT_NETWORK = ['--bridge=none', '--iptables=false', '--ip-forward=false', '--ip-masq=false'];

const folder = process.argv[2];
if (folder === undefined) throw new Error('give the folder');
await withLock(join(folder, 'keeper.lock'), say, () => keep(folder));
process.exit(0);

async function keep(folder: string): Promise<void> {
  const ended = Promise.withResolvers<void>();
  const leases = new Set<Socket>();
  let timer = setTimeout(() => ended.resolve(), FIRST_LEASE_MS);
  const daemon = startDaemon(folder);
  const answer = daemon.then(
    ({ host }) => ({ host }),
    (thrown) => ({ problem: messageOf(thrown) }),
  );
  const server = createServer((socket) => {
    clearTimeout(timer);
    leases.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      leases.delete(socket);
      if (leases.size > 0) return;
      clearTimeout(timer);
      timer = setTimeout(() => ended.resolve(), LINGER_MS);
    });
    socket.resume();
    void answer.then((line) => socket.write(`${JSON.stringify(line)}\n`));
  });
  const path = keeperSocket(folder);
  // Of a keeper that was killed: we hold the lock, so nobody listens on it.
  rmSync(path, { force: true });
  server.listen(path, () => chmodSync(path, 0o600));
  process.once('SIGTERM', () => ended.resolve());
  process.once('SIGINT', () => ended.resolve());
  void daemon.then(({ child }) => child.ended.addEventListener('abort', () => ended.resolve()));
  await ended.promise;
  // First of all nobody else can take a lease.
  server.close();
  rmSync(path, { force: true });
  for (const socket of leases) socket.destroy();
  await daemon.then(({ child }) => child.stop()).catch(() => {});
}

async function startDaemon(folder: string): Promise<{ readonly host: string; readonly child: ServiceChild }> {
  const socket = join(folder, 'docker.sock');
  const pidFile = join(folder, 'docker.pid');
  // After a crash or a reboot its number may be another process's.
  rmSync(pidFile, { force: true });
  const config = join(folder, 'daemon.json');
  const runsc = { path: 'runsc', runtimeArgs: ['--network=none'] };
  writeFileSync(config, JSON.stringify({ runtimes: (await hasProgram('runsc')) ? { runsc } : {} }));
  const logFile = join(folder, 'dockerd.log');
  rmSync(logFile, { force: true });
  const host = `unix://${socket}`;
  const places = ['--data-root', join(folder, 'data'), '--exec-root', execRoot(folder), '--pidfile', pidFile];
  const child = startChild(['dockerd', '--config-file', config, '--host', host, ...places, ...WITHOUT_NETWORK], {
    logFile,
  });
  const deadlineMs = Date.now() + READY_TIMEOUT_MS;
  while (!(await pings(socket))) {
    if (child.ended.aborted || Date.now() > deadlineMs) {
      await child.kill9();
      throw new Error(`dockerd does not start here:\n${child.logTail()}`);
    }
    await sleep(READY_POLL_MS);
  }
  return { host, child };
}

/** Short, since containerd's sockets lie in it, and gone after a reboot, as what it tells of then is. */
function execRoot(folder: string): string {
  return `/run/flowops-docker-${createHash('sha256').update(folder).digest('hex').slice(0, 8)}`;
}

function pings(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ socketPath, path: '/_ping', timeout: PING_TIMEOUT_MS }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
  });
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
