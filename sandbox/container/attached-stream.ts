/**
 * Stdin and stdout of a container over one hijacked connection to Docker, as a duplex stream. Output comes in pieces,
 * each behind a header of 8 bytes: which output, three zeros, the length (Docker API, "Attach to a container"). Pieces
 * are passed on as they arrive, none is gathered. Backpressure holds both ways. Stderr is for the log only: its end is
 * kept, the rest dropped.
 */
import { Duplex } from 'node:stream';

const HEADER_BYTES = 8;
const STDOUT = 1;
const STDERR = 2;
/** What a dying runner says fits; a plugin that writes more has it cut. */
const MAX_STDERR_BYTES = 4096;

export class AttachedStream extends Duplex {
  readonly #socket: Duplex;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  /** Of the piece that is coming in. */
  #output = STDOUT;
  #pieceBytes = 0;
  #stderr = Buffer.alloc(0);
  #hasEnded = false;

  constructor(socket: Duplex) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('end', () => this.#end());
    socket.on('error', (error: Error) => this.destroy(error));
    socket.on('close', () => {
      this.#end();
      // What came before still counts, also when its reader is behind.
      if (this.readableEnded) this.destroy();
      else this.once('end', () => this.destroy());
    });
  }

  get stderrTail(): string {
    return this.#stderr.toString('utf8').trim();
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  #end(): void {
    if (this.#hasEnded || this.destroyed) return;
    this.#hasEnded = true;
    this.push(null);
  }

  #take(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && !this.destroyed; ) {
      if (this.#pieceBytes === 0) {
        const wanted = Math.min(HEADER_BYTES - this.#headerBytes, chunk.length - at);
        chunk.copy(this.#header, this.#headerBytes, at, at + wanted);
        this.#headerBytes += wanted;
        at += wanted;
        if (this.#headerBytes === HEADER_BYTES) this.#readHeader();
        continue;
      }
      const piece = chunk.subarray(at, at + this.#pieceBytes);
      at += piece.length;
      this.#pieceBytes -= piece.length;
      if (this.#output === STDERR) this.#keep(piece);
      else if (!this.push(piece)) this.#socket.pause();
    }
  }

  #readHeader(): void {
    this.#headerBytes = 0;
    this.#output = this.#header.readUInt8(0);
    this.#pieceBytes = this.#header.readUInt32BE(4);
    if (this.#output !== STDOUT && this.#output !== STDERR) {
      this.destroy(new Error(`Docker sent a piece of output ${this.#output}, which does not exist`));
    }
  }

  #keep(piece: Buffer): void {
    const tail = Buffer.concat([this.#stderr, piece.subarray(-MAX_STDERR_BYTES)]);
    this.#stderr = tail.subarray(-MAX_STDERR_BYTES);
  }
}
