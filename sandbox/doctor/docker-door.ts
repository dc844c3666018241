/** A way to Docker that can be shut: a socket of the doctor's own in front of the real one. Docker itself goes on. */
import { connect, createServer, type Socket } from 'node:net';
import path from 'node:path';

const DEFAULT_SOCKET = '/var/run/docker.sock';

export interface DockerDoor {
  /** As DOCKER_HOST takes it. */
  readonly host: string;
  /** Every connection is cut, and none is let through until `open`. */
  shut(): void;
  open(): void;
  close(): Promise<void>;
}

/** @param dockerHost DOCKER_HOST; a door is for unix sockets and plain TCP. */
export async function openDockerDoor(dockerHost: string | undefined, folder: string): Promise<DockerDoor> {
  const target = targetOf(dockerHost);
  const file = path.join(folder, 'docker.sock');
  const open = new Set<Socket>();
  let isShut = false;
  const server = createServer({ allowHalfOpen: true }, (near) => {
    if (isShut) {
      near.destroy();
      return;
    }
    const far = connect({ ...target, allowHalfOpen: true });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        open.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(file, resolve);
  });
  const cut = (): void => {
    for (const socket of open) socket.destroy();
  };
  return {
    host: `unix://${file}`,
    shut: () => {
      isShut = true;
      cut();
    },
    open: () => {
      isShut = false;
    },
    close: async () => {
      cut();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function targetOf(dockerHost: string | undefined): { path: string } | { host: string; port: number } {
  if (dockerHost === undefined || dockerHost === '') return { path: DEFAULT_SOCKET };
  if (dockerHost.startsWith('unix://')) return { path: dockerHost.slice('unix://'.length) };
  const { hostname, port } = new URL(dockerHost);
  return { host: hostname, port: Number(port) };
}
