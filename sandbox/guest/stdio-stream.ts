/** Two pipes of this process as the one duplex stream that a Peer speaks on. */
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';

export class StdioStream extends Duplex {
  readonly #input: Socket;
  readonly #output: Socket;

  constructor({ inputFd, outputFd }: { inputFd: number; outputFd: number }) {
    super();
    this.#input = new Socket({ fd: inputFd, readable: true, writable: false });
    this.#output = new Socket({ fd: outputFd, readable: false, writable: true });
    this.#input.on('data', (chunk: Uint8Array) => {
      if (!this.push(chunk)) this.#input.pause();
    });
    this.#input.on('end', () => this.push(null));
    this.#input.on('error', (error: Error) => this.destroy(error));
    this.#output.on('error', (error: Error) => this.destroy(error));
  }

  override _read(): void {
    this.#input.resume();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#output.write(chunk, done);
  }

  /** Frames of one tick leave in one system call. */
  override _writev(chunks: { readonly chunk: Uint8Array }[], done: (error?: Error | null) => void): void {
    this.#output.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#output.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#input.destroy();
    this.#output.destroy();
    done(error);
  }
}
