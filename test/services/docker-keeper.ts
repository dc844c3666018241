/**
 * The process that keeps the tests' own dockerd: `node docker-keeper.ts FOLDER`. Test runs connect to it, and each open
 * connection is a lease; when the last one is gone, for whatever reason, the daemon is stopped and this process ends.
 *
 * Only one runs for a folder: a second one waits for the end of the first. The images in FOLDER outlive it.
 */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { messageOf } from '@flowops/proto/errors.ts';
import { withLock } from '../../bin/setup-lock.mjs';
import { keeperSocket } from './docker-lease.ts';
import { startDockerd } from './dockerd.ts';

/** From one stage of `npm test` to the next; then it would start again, which takes two seconds. */
const LINGER_MS = 1_000;
/** Whoever started it connects at once. */
const FIRST_LEASE_MS = 10_000;

const folder = process.argv[2];
if (folder === undefined) throw new Error('give the folder');
await withLock(join(folder, 'keeper.lock'), say, () => keep(folder));
process.exit(0);

async function keep(folder: string): Promise<void> {
  const ended = Promise.withResolvers<void>();
  const leases = new Set<Socket>();
  let timer = setTimeout(() => ended.resolve(), FIRST_LEASE_MS);
  const daemon = startDockerd(folder);
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

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
