/** A dockerd for tests: its data, socket, configuration and log in one folder, and as much of the machine left alone as can be. */
import { createHash } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasProgram, type ServiceChild, startChild } from './child.ts';

const READY_TIMEOUT_MS = 45_000;
const READY_POLL_MS = 50;
const PING_TIMEOUT_MS = 1_000;
/** No bridge and no rules: step containers have no network, and the machine's own is left as it is. */
const WITHOUT_NETWORK = ['--bridge=none', '--iptables=false', '--ip-forward=false', '--ip-masq=false'];

export interface Dockerd {
  /** As DOCKER_HOST takes it. */
  readonly host: string;
  readonly child: ServiceChild;
}

/** @param options for its daemon.json, beside runsc where that is installed. */
export async function startDockerd(folder: string, options: Readonly<Record<string, unknown>> = {}): Promise<Dockerd> {
  const socket = join(folder, 'docker.sock');
  const pidFile = join(folder, 'docker.pid');
  // After a crash or a reboot its number may be another process's.
  rmSync(pidFile, { force: true });
  const config = join(folder, 'daemon.json');
  const runsc = { path: 'runsc', runtimeArgs: ['--network=none'] };
  writeFileSync(config, JSON.stringify({ ...options, runtimes: (await hasProgram('runsc')) ? { runsc } : {} }));
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
export function execRoot(folder: string): string {
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
