/**
 * Where Chrome DevTools finds the isolate of `sandbox run --inspect`: an HTTP list of one target and a WebSocket for
 * it, on loopback only, under a path that nobody can guess. Takes one debugger at a time. Knows nothing of isolates.
 *
 * Web pages could reach loopback too: a request whose Host is a name (DNS rebinding) or whose Origin is a web page is
 * refused.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { MAX_DEBUG_MESSAGE_LENGTH } from '@flowops/proto/debug-messages.ts';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { type WebSocket, WebSocketServer } from 'ws';

const HOST = '127.0.0.1';
/** What a debugger may leave unread before it is cut off. */
const MAX_UNREAD_BYTES = 64 * 1024 * 1024;
const OWN_HOST = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?$/;
const OWN_ORIGIN = /^(?:devtools|chrome-devtools|vscode-file|vscode-webview):\/\//;

export interface InspectServer {
  /** `ws://127.0.0.1:PORT/UUID` */
  readonly url: string;
  /** To paste into Chrome. */
  readonly devtoolsUrl: string;
  /** To the debugger; dropped while there is none. */
  send(message: string): void;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface InspectServerOptions {
  /** 0 = any free one. */
  readonly port: number;
  /** Of the target, for a person. */
  readonly title: string;
  readonly onAttached: () => void;
  readonly onMessage: (message: string) => void;
  readonly onDetached: () => void;
}

/** Rejects with CONFIG_INVALID when the port is taken. */
export async function openInspectServer(options: InspectServerOptions): Promise<InspectServer> {
  const id = randomUUID();
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_DEBUG_MESSAGE_LENGTH,
    perMessageDeflate: false,
  });
  let debuggerSocket: WebSocket | undefined;
  let address = '';

  const accept = (socket: WebSocket): void => {
    debuggerSocket = socket;
    options.onAttached();
    socket.on('message', (data) => options.onMessage(String(data)));
    socket.on('error', () => socket.terminate());
    socket.on('close', () => {
      debuggerSocket = undefined;
      options.onDetached();
    });
  };

  const server = createServer((request, response) => answer(request, response, { id, address, title: options.title }));
  server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    if (!isWelcome(request) || request.url !== `/${id}` || debuggerSocket !== undefined) {
      stream.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, stream, head, accept);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new FlowopsError('CONFIG_INVALID', `--inspect: ${messageOf(error)}`)));
    server.listen(options.port, HOST, resolve);
  });
  const { port } = server.address() as AddressInfo; // of a TCP server that listens
  address = `${HOST}:${port}/${id}`;
  let closing: Promise<void> | undefined;
  return {
    url: `ws://${address}`,
    devtoolsUrl: devtoolsUrlOf(address),
    send: (message) => {
      if (debuggerSocket === undefined) return;
      debuggerSocket.send(message);
      if (debuggerSocket.bufferedAmount > MAX_UNREAD_BYTES) debuggerSocket.terminate();
    },
    close: () => {
      closing ??= new Promise((resolve) => {
        debuggerSocket?.close(1000, 'the plugin has ended');
        sockets.close();
        server.close(() => resolve());
        server.closeAllConnections();
        // Upgraded connections are not the server's any more; one that does not answer the close is cut.
        debuggerSocket?.terminate();
      });
      return closing;
    },
  };
}

function devtoolsUrlOf(address: string): string {
  return `devtools://devtools/bundled/js_app.html?experiments=true&v8only=true&ws=${address}`;
}

function isWelcome({ headers }: IncomingMessage): boolean {
  const isOwnHost = OWN_HOST.test(headers.host ?? '');
  return isOwnHost && (headers.origin === undefined || OWN_ORIGIN.test(headers.origin));
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { id, address, title }: { id: string; address: string; title: string },
): void {
  if (!isWelcome(request) || request.method !== 'GET') {
    response.writeHead(403).end();
    return;
  }
  switch (request.url) {
    case '/json':
    case '/json/list':
      sendJson(response, [
        {
          id,
          title,
          type: 'node',
          description: 'FlowOps plugin in its isolate',
          url: `flowops://${id}`,
          webSocketDebuggerUrl: `ws://${address}`,
          devtoolsFrontendUrl: devtoolsUrlOf(address),
        },
      ]);
      return;
    case '/json/version':
      sendJson(response, { Browser: `FlowOps/${process.version}`, 'Protocol-Version': '1.3' });
      return;
    default:
      response.writeHead(404).end();
  }
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json; charset=UTF-8' }).end(JSON.stringify(value));
}
