/**
 * A connection of one request: resolve, connect, look at the socket's own address, then TLS. Nothing of the request is
 * written before the address was seen to be one that the grant allows, whatever the resolver said.
 *
 * Each request has a connection of its own that ends with it: none is ever shared, neither between plugins nor between
 * the places a plugin speaks to. No proxy is asked, certificates are checked against the usual authorities.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Target } from '@flowops/proto/net-grants.ts';
import { type AddressClass, classifyAddress } from './addresses.ts';
import { startDeadline } from './deadline.ts';
import { networkProblem } from './network-error.ts';

export interface ConnectOptions {
  readonly resolve: (host: string) => Promise<readonly string[]>;
  readonly allows: (address: AddressClass) => boolean;
  /** For name, connection and TLS together. */
  readonly timeoutMs: number;
  /** Ends the attempt to connect, and later the connection. */
  readonly signal: AbortSignal;
}

export type Connected =
  | { readonly ok: true; readonly socket: Socket }
  /** An address that the grant does not allow. */
  | { readonly ok: false; readonly kind: 'address'; readonly address: string; readonly isSpecial: boolean }
  | { readonly ok: false; readonly kind: 'failed'; readonly problem: string };

/** Never rejects. The socket is destroyed when the signal aborts. */
export async function openConnection(target: Target, options: ConnectOptions): Promise<Connected> {
  const { signal, timeoutMs } = options;
  const deadline = startDeadline(signal, timeoutMs);
  try {
    const connected = await connect(target, options, deadline.signal);
    if (connected.ok) endWith(connected.socket, signal);
    return connected;
  } catch (thrown) {
    const problem = deadline.hasPassed ? `no connection within ${timeoutMs} ms` : networkProblem(thrown);
    return { ok: false, kind: 'failed', problem };
  } finally {
    deadline.release();
  }
}

/** @param signal for the way to a connection only. */
async function connect(target: Target, options: ConnectOptions, signal: AbortSignal): Promise<Connected> {
  const { resolve, allows } = options;
  const addresses = isIP(target.host) > 0 ? [target.host] : await unless(signal, resolve(target.host));
  const allowed = addresses.filter((address) => allows(classifyAddress(address)));
  const [first] = allowed;
  if (first === undefined) {
    const [refused] = addresses;
    return refused === undefined ? noAddress(target) : refuse(refused);
  }
  const socket = openSocket(target.port, allowed, first);
  await opened(socket, 'connect', signal);
  // The resolver's word is not enough: this is where the bytes would go.
  const remote = socket.remoteAddress ?? '';
  if (!allows(classifyAddress(remote))) {
    socket.destroy();
    return refuse(remote);
  }
  if (!target.isTls) return { ok: true, socket };
  const secured = connectTls({
    socket,
    host: target.host,
    servername: isIP(target.host) > 0 ? '' : target.host,
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: true,
  });
  await opened(secured, 'secureConnect', signal);
  return { ok: true, socket: secured };
}

/** Tries the addresses one after the other, as browsers do; the first that answers is taken. */
function openSocket(port: number, addresses: readonly string[], first: string): Socket {
  const found = addresses.map((address) => ({ address, family: isIP(address) }));
  return connectTcp({
    host: found.length === 1 ? first : 'resolved.invalid',
    port,
    autoSelectFamily: true,
    noDelay: true,
    lookup: (_host, { all }, answer) => {
      if (all === true) answer(null, found);
      else answer(null, first, isIP(first));
    },
  });
}

/** Destroys the socket with the signal; returns what undoes that. */
function endWith(socket: Socket, signal: AbortSignal): () => void {
  const end = (): void => {
    socket.destroy();
  };
  const release = (): void => signal.removeEventListener('abort', end);
  socket.once('close', release);
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  return release;
}

function opened(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<void> {
  const release = endWith(socket, signal);
  // Its request tells of later errors; without a request they have nobody to tell.
  socket.on('error', () => {});
  return new Promise<void>((resolve, reject) => {
    socket.once(event, () => resolve());
    socket.once('error', (error) => {
      socket.destroy();
      reject(error);
    });
    socket.once('close', () => reject(reasonOf(signal, 'the connection was closed')));
  }).finally(release);
}

function unless<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(reasonOf(signal, 'given up'));
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

function reasonOf(signal: AbortSignal, otherwise: string): Error {
  return signal.aborted && signal.reason instanceof Error ? signal.reason : new Error(otherwise);
}

function refuse(address: string): Connected {
  return { ok: false, kind: 'address', address, isSpecial: classifyAddress(address) === 'special' };
}

function noAddress(target: Target): Connected {
  return { ok: false, kind: 'failed', problem: `${target.host} has no address` };
}
