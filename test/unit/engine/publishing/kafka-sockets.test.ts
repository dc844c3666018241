import { once } from 'node:events';
import net from 'node:net';
import { KafkaSockets } from '@flowops/engine/publishing/kafka-sockets.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const PRODUCE = 0;
const METADATA = 3;

let server: net.Server;
let received: Buffer;
beforeEach(async () => {
  received = Buffer.alloc(0);
  server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(() => void server.close());

describe('KafkaSockets', () => {
  it('lets a produce request out only while it may go, and cuts the connection instead', async () => {
    let mayProduce = true;
    const socket = await connect(new KafkaSockets(() => mayProduce));
    socket.write(request(PRODUCE), 'binary');
    await until(() => received.length === 8);
    mayProduce = false;
    const failed = once(socket, 'error');
    socket.write(request(PRODUCE), 'binary');
    expect((await failed)[0]).toMatchObject({ message: expect.stringContaining('the group has not answered') });
    expect(received).toHaveLength(8);
  });

  it('lets every other request pass', async () => {
    const socket = await connect(new KafkaSockets(() => false));
    socket.write(request(METADATA), 'binary');
    await until(() => received.length === 8);
    socket.destroy();
  });

  it('makes no connection once it is shut down, and says so to who asks for one', async () => {
    const sockets = new KafkaSockets(() => true);
    const open = await connect(sockets);
    const cut = once(open, 'error');
    sockets.shutDown();
    expect((await cut)[0]).toMatchObject({ message: 'the client is shut down' });
    const late = sockets.create(terms(() => {}));
    expect((await once(late, 'error'))[0]).toMatchObject({ message: 'the client is shut down' });
  });
});

/** Its length, and the key of its kind. */
function request(apiKey: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeInt32BE(4, 0);
  bytes.writeInt16BE(apiKey, 4);
  return bytes;
}

async function connect(sockets: KafkaSockets): Promise<net.Socket> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = sockets.create(terms(resolve));
  await promise;
  return socket;
}

function terms(onConnect: () => void) {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server listens on a port');
  const ssl: unknown = null; // as the client gives it without TLS, whatever its types say
  return { host: '127.0.0.1', port: address.port, ssl: ssl as object, onConnect };
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}
