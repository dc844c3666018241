/** A TCP relay before Redis that a test can freeze or cut, and that counts what passes. For redis-store.test.ts. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface RedisProxy {
  readonly url: string;
  /** Chunks that came from the client and from the server since the last call. */
  takeCounts(): { readonly up: number; readonly down: number };
  /** Nothing passes any more, and nobody is told; new connections are accepted and stay silent. */
  freeze(): void;
  /** Every connection ends; new ones work again. */
  cut(): void;
  /** The same, as a machine does that has forgotten them (RST): an error for whoever holds one. */
  reset(): void;
  /** Ends every connection with the server's next answer, which the client does not get. */
  cutAtNextAnswer(): void;
  stop(): Promise<void>;
}

export async function startRedisProxy(redisPort: number): Promise<RedisProxy> {
  const sockets = new Set<Socket>();
  let isFrozen = false;
  let isCutNext = false;
  let up = 0;
  let down = 0;
  const cut = () => {
    isFrozen = false;
    isCutNext = false;
    for (const socket of sockets) socket.destroy();
  };

  const server = createServer((client) => {
    const upstream = connect(redisPort, '127.0.0.1');
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.on('data', (chunk) => {
        if (socket === client) up += 1;
        else down += 1;
        if (socket === upstream && isCutNext) cut();
        else if (!isFrozen) other.write(chunk);
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server that listens has one
  return {
    url: `redis://127.0.0.1:${port}`,
    takeCounts: () => {
      const counts = { up, down };
      up = 0;
      down = 0;
      return counts;
    },
    freeze: () => {
      isFrozen = true;
    },
    cut,
    reset: () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    cutAtNextAnswer: () => {
      isCutNext = true;
    },
    stop: async () => {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
