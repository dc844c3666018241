/** Small HTTP servers on loopback for the tests of one file: started when asked for, ended with the last test. */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Server as NetServer, Socket } from 'node:net';
import { afterAll } from 'vitest';

export interface LocalServer {
  readonly port: number;
  /** `127.0.0.1:port` */
  readonly place: string;
  /** `http://127.0.0.1:port` or https */
  readonly origin: string;
  readonly seen: readonly SeenRequest[];
  /** Connections that are open now. */
  connections(): number;
}

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface LocalServers {
  http(answer: (request: SeenRequest, response: ServerResponse) => void): Promise<LocalServer>;
  https(pems: { key: string; cert: string }): Promise<LocalServer>;
  raw(server: NetServer): Promise<LocalServer>;
}

export function localServers(): LocalServers {
  const ends: (() => Promise<void>)[] = [];
  afterAll(async () => {
    await Promise.all(ends.map((end) => end()));
  });
  const listen = async (server: NetServer, scheme: string, seen: readonly SeenRequest[]): Promise<LocalServer> => {
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ends.push(async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    const { port } = server.address() as AddressInfo;
    const place = `127.0.0.1:${port}`;
    return { port, place, origin: `${scheme}://${place}`, seen, connections: () => sockets.size };
  };
  const recording = (seen: SeenRequest[], answer: (request: SeenRequest, response: ServerResponse) => void) => {
    const listener: RequestListener = (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { method = '', url = '', headers } = request;
        const one = { method, url, headers, body: Buffer.concat(chunks).toString() };
        seen.push(one);
        answer(one, response);
      });
    };
    return listener;
  };
  return {
    http: async (answer) => {
      const seen: SeenRequest[] = [];
      const server: Server = createServer(recording(seen, answer));
      return await listen(server, 'http', seen);
    },
    https: async (pems) => {
      const seen: SeenRequest[] = [];
      const server = createTlsServer(
        pems,
        recording(seen, (_, response) => response.end('secure')),
      );
      return await listen(server, 'https', seen);
    },
    raw: (server) => listen(server, 'http', []),
  };
}
