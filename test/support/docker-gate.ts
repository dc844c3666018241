/**
 * A socket before Docker's that lets everything pass but what a test holds back: a container's start. So a test can be in
 * the middle of one for as long as it wants.
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { Growing } from './service-growing.ts';

/** The first line of the request, which is the beginning of a chunk: clients of HTTP write a request at once. */
const START = /^POST \S*\/containers\/([^/]+)\/start[ ?]/;

export interface DockerGate {
  /** As DOCKER_HOST takes it. */
  readonly host: string;
  /** Containers whose start came here while the gate was closed. */
  readonly held: Growing<string>;
  open(): void;
  stop(): Promise<void>;
}

/** Begins closed. @param docker as DOCKER_HOST has it, a unix socket @param path of the new socket */
export async function startDockerGate(docker: string, path: string): Promise<DockerGate> {
  const held = new Growing<string>();
  const opened = Promise.withResolvers<void>();
  const sockets = new Set<Socket>();
  let isOpen = false;
  const server = createServer((client) => {
    const daemon = connect(docker.replace(/^unix:\/\//, ''));
    for (const [socket, other] of [
      [client, daemon],
      [daemon, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    daemon.pipe(client);
    // What comes behind a held request on its connection waits with it.
    let before: Promise<void> = Promise.resolve();
    client.on('data', (chunk: Buffer) => {
      const started = START.exec(chunk.toString('latin1', 0, 256))?.[1];
      if (started !== undefined && !isOpen) {
        held.push(started);
        before = opened.promise;
      }
      before = before.then(() => void daemon.write(chunk));
    });
    client.on('end', () => void before.then(() => daemon.end()));
  });
  server.listen(path);
  await once(server, 'listening');
  return {
    host: `unix://${path}`,
    held,
    open: () => {
      isOpen = true;
      opened.resolve();
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
