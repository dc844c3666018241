/** Opens the byte stream to a sandbox host that runs on its own: a unix socket, or TLS 1.3 with certificates both ways. */
import { connect as connectSocket, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { messageOf } from '@flowops/proto/errors.ts';
import { SANDBOX_TLS_VERSION, type SandboxAddress, type TlsIdentity } from '@flowops/proto/sandbox-address.ts';

/** Another continent and a busy host; a machine that is off answers nothing at all. */
const DIAL_TIMEOUT_MS = 5_000;
/** A connection that carries nothing for this long is asked by the kernel whether it still stands. */
const TCP_KEEP_ALIVE_MS = 10_000;

export type DialResult =
  | { readonly ok: true; readonly stream: Duplex }
  | { readonly ok: false; readonly message: string };

/** Never throws. */
export function dial(
  address: SandboxAddress,
  identity: TlsIdentity | undefined,
  signal: AbortSignal,
): Promise<DialResult> {
  return new Promise((resolve) => {
    const { socket, readyEvent } = open(address, identity);
    const finish = (result: DialResult): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.removeAllListeners();
      // Whoever gets the stream listens to its errors; until then, and after a failure, nobody has to.
      socket.on('error', () => {});
      if (!result.ok) socket.destroy();
      resolve(result);
    };
    const fail = (message: string): void => finish({ ok: false, message });
    const onAbort = (): void => fail('it was not wanted any more');
    const timer = setTimeout(() => fail(`nothing answered for ${DIAL_TIMEOUT_MS} ms`), DIAL_TIMEOUT_MS);
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', (error) => fail(messageOf(error)));
    socket.once('close', () => fail('the connection was closed'));
    socket.once(readyEvent, () => finish({ ok: true, stream: socket }));
    if (signal.aborted) onAbort();
  });
}

function open(address: SandboxAddress, identity: TlsIdentity | undefined): { socket: Socket; readyEvent: string } {
  if (address.kind === 'unix') return { socket: connectSocket(address.path), readyEvent: 'connect' };
  const { host, port } = address;
  const version = { minVersion: SANDBOX_TLS_VERSION, maxVersion: SANDBOX_TLS_VERSION } as const;
  // The host's certificate must be of our authority and in this very name.
  const socket = connectTls({ host, port, ...identity, ...version, rejectUnauthorized: true });
  socket.setNoDelay(true);
  socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
  return { socket, readyEvent: 'secureConnect' };
}
