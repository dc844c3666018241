/**
 * The connections of one Kafka client: plain or TLS, all of them known, so that they can be cut at once. Also the last
 * look before a produce request goes out: the client may have waited for metadata or a connection since the sender
 * looked at its standing, or the whole process was stopped meanwhile.
 */
import net from 'node:net';
import tls from 'node:tls';
import type { ISocketFactory, ISocketFactoryArgs } from 'kafkajs';

const KEEP_ALIVE_DELAY_MS = 60_000;
/** A request begins with its length (4 bytes) and the key of its kind; Produce is 0 (Kafka protocol guide). */
const API_KEY_AT = 4;
const PRODUCE_API_KEY = 0;

export class KafkaSockets {
  readonly #mayProduce: () => boolean;
  readonly #open = new Set<net.Socket>();
  #isShutDown = false;

  constructor(mayProduce: () => boolean) {
    this.#mayProduce = mayProduce;
  }

  readonly create: ISocketFactory = (args) => {
    const socket = this.#isShutDown ? new net.Socket() : connect(args);
    if (this.#isShutDown) process.nextTick(() => socket.destroy(new Error('the client is shut down')));
    socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS);
    socket.setNoDelay(true);
    this.#guard(socket);
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
    return socket;
  };

  /** Cuts every connection. The client listens to 'error' and 'end' of a socket, not to 'close': so with an error. */
  destroy(reason: string): void {
    for (const socket of this.#open) socket.destroy(new Error(reason));
  }

  /** The same, and none is made any more. */
  shutDown(): void {
    this.#isShutDown = true;
    this.destroy('the client is shut down');
  }

  /** The client writes each request with one call, which is all that this leans on. */
  #guard(socket: net.Socket): void {
    const write: (chunk: Buffer, encoding: BufferEncoding) => boolean = socket.write.bind(socket);
    const guarded = (chunk: Buffer, encoding: BufferEncoding): boolean => {
      const isProduce = chunk.length >= API_KEY_AT + 2 && chunk.readInt16BE(API_KEY_AT) === PRODUCE_API_KEY;
      if (!isProduce || this.#mayProduce()) return write(chunk, encoding);
      socket.destroy(new Error('the group has not answered this engine for too long to send for it'));
      return false;
    };
    socket.write = guarded as typeof socket.write; // one function for all of its overloads
  }
}

function connect({ host, port, ssl, onConnect }: ISocketFactoryArgs): net.Socket {
  // The client's types promise `ssl`, but it is null without TLS.
  const terms: tls.ConnectionOptions | null = ssl;
  if (terms === null) return net.connect({ host, port }, onConnect);
  const servername = net.isIP(host) === 0 ? { servername: host } : {};
  return tls.connect({ host, port, ...servername, ...terms }, onConnect);
}
