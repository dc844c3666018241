/**
 * A relay that stands for the network between one engine and what it stands on, over TCP or a unix socket. Held, it is a network that carries
 * nothing and tells nobody: bytes wait where they are, as TCP would send them again, and pass when it is mended. Cut, every
 * connection breaks and new ones are refused at once.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

const HOST = '127.0.0.1';
type State = 'open' | 'held' | 'cut';

export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #held: (() => void)[] = [];
  #state: State = 'open';
  #target: number | string | undefined;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** @param path of a unix socket; absent: a free port of loopback */
  static async open(path?: string): Promise<Relay> {
    const server = createServer({ pauseOnConnect: true });
    const relay = new Relay(server);
    server.on('connection', (client) => relay.#accept(client));
    if (path === undefined) server.listen(0, HOST);
    else server.listen(path);
    await once(server, 'listening');
    return relay;
  }

  get port(): number {
    const { port } = this.#server.address() as AddressInfo; // a TCP server that listens has one
    return port;
  }

  /** Where connections lead from now on, a port or a path; until the first call they are refused. */
  leadTo(target: number | string): void {
    this.#target = target;
  }

  hold(): void {
    this.#state = 'held';
    for (const socket of this.#sockets) socket.pause();
  }

  cut(): void {
    this.#state = 'cut';
    this.#breakAll();
  }

  mend(): void {
    this.#state = 'open';
    for (const go of this.#held.splice(0)) go();
    for (const socket of this.#sockets) socket.resume();
  }

  async close(): Promise<void> {
    this.#state = 'cut';
    this.#breakAll();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: Socket): void {
    this.#keep(client);
    if (this.#state === 'cut' || this.#target === undefined) breakOff(client);
    else if (this.#state === 'held') this.#held.push(() => this.#join(client));
    else this.#join(client);
  }

  #join(client: Socket): void {
    if (client.destroyed || this.#target === undefined) return;
    const upstream = typeof this.#target === 'string' ? connect(this.#target) : connect(this.#target, HOST);
    this.#keep(upstream);
    this.#pass(client, upstream);
    this.#pass(upstream, client);
  }

  #pass(from: Socket, to: Socket): void {
    from.on('data', (chunk) => {
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => {
      if (this.#state === 'open') from.resume();
    });
    from.on('end', () => to.end());
    from.on('close', () => to.destroy());
    from.resume();
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }

  #breakAll(): void {
    this.#held.length = 0;
    for (const socket of this.#sockets) breakOff(socket);
  }
}

/** A TCP peer learns by a reset that nothing will come; a unix socket knows no reset. */
function breakOff(socket: Socket): void {
  if (socket.remoteFamily === undefined) socket.destroy();
  else socket.resetAndDestroy();
}
