/** The plugins' own log: a small HTTP server on loopback that keeps each line it is sent. It judges nothing. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';
import { EFFECT_PHASES, type Effect } from './observation.ts';

const effectSchema = z.strictObject({
  key: z.string(),
  life: z.string(),
  attempt: z.number().int(),
  phase: z.enum(EFFECT_PHASES),
  input: z.string(),
  atMs: z.number(),
});
/** By name: a guest needs no parser for such a URL, whose tables cost it more than all the rest of a step. */
const HOST = 'localhost';

export class EffectLog {
  readonly #server: Server;
  #effects: Effect[] = [];

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(): Promise<EffectLog> {
    const server = createServer();
    const log = new EffectLog(server);
    server.on('request', (request, response) => {
      readBody(request).then(
        (text) => {
          log.#effects.push(effectSchema.parse(JSON.parse(text)));
          response.end();
        },
        () => response.destroy(), // whoever sent it died in the middle
      );
    });
    server.listen(0, HOST);
    await once(server, 'listening');
    return log;
  }

  /** `host:port`. */
  get place(): string {
    const { port } = this.#server.address() as AddressInfo; // a TCP server that listens has one
    return `${HOST}:${port}`;
  }

  get effects(): readonly Effect[] {
    return this.#effects;
  }

  /** Begins anew. */
  clear(): void {
    this.#effects = [];
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
