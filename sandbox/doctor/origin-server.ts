/**
 * Two small HTTP servers on loopback for the cases about host calls: one that cases may be granted, with every bad
 * answer on a path of its own, and one that nobody may reach, which counts who comes.
 */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';

export interface OriginServers {
  /** `127.0.0.1:PORT` */
  readonly origin: string;
  readonly forbidden: string;
  /** Connections to the forbidden one so far. */
  visits(): number;
  close(): Promise<void>;
}

const PIECE = Buffer.alloc(64 * 1024, 'x');
/** Larger than any answer may be; small on the wire. */
const BOMB = gzipSync(Buffer.alloc(64 * 1024 * 1024));
const SLOW_PIECE_MS = 500;

export async function openOriginServers(): Promise<OriginServers> {
  let visits = 0;
  const forbidden = createServer((_, response) => response.end('reached'));
  forbidden.on('connection', () => visits++);
  const forbiddenAddress = await listen(forbidden);
  const origin = createServer(answer(forbiddenAddress));
  const originAddress = await listen(origin);
  return {
    origin: originAddress,
    forbidden: forbiddenAddress,
    visits: () => visits,
    close: async () => {
      await Promise.all([origin, forbidden].map(end));
    },
  };
}

function answer(forbidden: string): RequestListener {
  return (request, response) => {
    request.resume();
    response.on('error', () => undefined); // whoever asked has gone
    switch (request.url) {
      case '/redirect':
        response.writeHead(302, { location: `http://${forbidden}/` }).end();
        return;
      case '/large':
      case '/endless': {
        // A gigabyte is announced, or nothing is.
        if (request.url === '/large') response.setHeader('content-length', 2 ** 30);
        const more = (): void => {
          while (!response.destroyed && response.write(PIECE));
        };
        response.on('drain', more);
        more();
        return;
      }
      case '/bomb':
        response.writeHead(200, { 'content-encoding': 'gzip' }).end(BOMB);
        return;
      case '/slow': {
        const timer = setInterval(() => response.write('x'), SLOW_PIECE_MS);
        response.on('close', () => clearInterval(timer));
        return;
      }
      default:
        response.writeHead(200, { 'content-type': 'text/plain' }).end('fine');
    }
  };
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address() as AddressInfo; // of a TCP server that listens
  return `127.0.0.1:${address.port}`;
}

function end(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
