/**
 * One address at which a sandbox host takes connections (design 5.1): a unix socket with mode 0600 in a folder of its
 * user's alone, or TLS 1.3 with certificates both ways and a list of names. Who is not welcome never gets to say Hello.
 */
import { chmod } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { SANDBOX_TLS_VERSION, type SandboxAddress, type TlsIdentity } from '@flowops/proto/sandbox-address.ts';
import type { Logger } from 'pino';
import { listedName } from './client-names.ts';
import { prepareSocketPlace } from './unix-place.ts';

/** Engines of one host; a connection costs memory before it is known whose it is. */
const MAX_CONNECTIONS = 128;
/** A stranger that opens connections and says nothing holds each of them no longer. */
const HANDSHAKE_TIMEOUT_MS = 5_000;
const TCP_KEEP_ALIVE_MS = 10_000;

export interface TlsTerms {
  readonly identity: TlsIdentity;
  /** Of SANDBOX_CLIENTS. */
  readonly clients: readonly string[];
}

export interface ListenOptions {
  readonly address: SandboxAddress;
  /** Needed for TLS. */
  readonly tls: TlsTerms | undefined;
  readonly onConnection: (stream: Socket) => void;
  readonly log: Logger;
}

export interface Listener {
  /** As an engine writes it in SANDBOX_URL. */
  readonly address: string;
  /** Takes no more connections; those that there are go on. Idempotent. */
  close(): void;
}

/** @throws FlowopsError CONFIG_INVALID when the address cannot be listened on */
export async function listen(options: ListenOptions): Promise<Listener> {
  const { address, log } = options;
  if (address.kind === 'unix') await prepareSocketPlace(address.path);
  const server = address.kind === 'unix' ? createServer(options.onConnection) : tlsServer(options);
  server.maxConnections = MAX_CONNECTIONS;
  await opened(server, address);
  if (address.kind === 'unix') await chmod(address.path, 0o600);
  server.on('error', (error) => log.error({ address: address.text }, `the listener failed: ${messageOf(error)}`));
  server.on('drop', () =>
    log.warn({ address: address.text }, `more than ${MAX_CONNECTIONS} connections; one was refused`),
  );
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : undefined;
  const text = address.kind === 'tls' && port !== undefined ? `tls://${hostText(address.host)}:${port}` : address.text;
  return { address: text, close: () => void server.close() };
}

function tlsServer({ address, tls, onConnection, log }: ListenOptions): Server {
  if (tls === undefined) throw new Error(`${address.text} was opened without certificates`);
  const server = createTlsServer({
    ...tls.identity,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: SANDBOX_TLS_VERSION,
    maxVersion: SANDBOX_TLS_VERSION,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  });
  server.on('tlsClientError', (error, socket) => {
    const from = socket.remoteAddress;
    log.warn({ address: address.text, from }, `a connection was refused: ${messageOf(error)}`);
    socket.destroy();
  });
  server.on('secureConnection', (socket) => {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
    if (isWelcome(socket, tls.clients)) return onConnection(socket);
    const subject = socket.getPeerX509Certificate()?.subject.replaceAll('\n', ', ').slice(0, 256);
    const from = socket.remoteAddress;
    log.warn(
      { address: address.text, from, subject },
      'a connection was refused: SANDBOX_CLIENTS does not name its certificate',
    );
    socket.destroy();
  });
  return server;
}

function isWelcome(socket: TLSSocket, clients: readonly string[]): boolean {
  const certificate = socket.getPeerX509Certificate();
  return socket.authorized && certificate !== undefined && listedName(certificate, clients) !== undefined;
}

function opened(server: Server, address: SandboxAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      const message = `SANDBOX_LISTEN ${address.text} cannot be listened on: ${messageOf(error)}`;
      reject(new FlowopsError('CONFIG_INVALID', message, { cause: error }));
    });
    const onListening = (): void => {
      server.removeAllListeners('error');
      resolve();
    };
    if (address.kind === 'unix') server.listen(address.path, onListening);
    else server.listen(address.port, address.host, onListening);
  });
}

/** An IPv6 address has brackets in a URL. */
function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
