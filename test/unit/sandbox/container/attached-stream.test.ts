import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { AttachedStream } from '../../../../sandbox/container/attached-stream.ts';

function piece(output: number, text: string): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(output, 0);
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
}

/** The daemon's end: what it sends is written to it, what the host sends is read from `sent`. */
function attach() {
  const socket = new PassThrough({ highWaterMark: 1024 });
  return { socket, stream: new AttachedStream(socket) };
}

async function textOf(stream: AttachedStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe('the stream of a container', () => {
  it('is its stdout without the headers, in order', async () => {
    const { socket, stream } = attach();
    socket.write(Buffer.concat([piece(1, 'one '), piece(1, 'two '), piece(1, 'three')]));
    socket.end();
    expect(await textOf(stream)).toBe('one two three');
  });

  it('is the same when headers and pieces are cut at every byte', async () => {
    const { socket, stream } = attach();
    const bytes = Buffer.concat([piece(1, 'ab'), piece(2, 'err'), piece(1, ''), piece(1, 'cd')]);
    for (const byte of bytes) socket.write(Buffer.of(byte));
    socket.end();
    expect(await textOf(stream)).toBe('abcd');
    expect(stream.stderrTail).toBe('err');
  });

  it('keeps the end of stderr and no more, however much comes', async () => {
    const { socket, stream } = attach();
    const read = textOf(stream);
    for (let i = 0; i < 100; i++) socket.write(piece(2, 'x'.repeat(1000)));
    socket.write(piece(2, 'last words'));
    socket.end();
    expect(await read).toBe('');
    expect(stream.stderrTail.length).toBeLessThanOrEqual(4096);
    expect(stream.stderrTail).toMatch(/xlast words$/);
  });

  it('ends with an error at an output that does not exist', async () => {
    const { socket, stream } = attach();
    socket.write(piece(7, 'what?'));
    const [error] = await once(stream.resume(), 'error');
    expect(String(error)).toContain('output 7');
  });

  it('holds the daemon back while nobody reads', () => {
    const { socket, stream } = attach();
    const chunk = piece(1, 'x'.repeat(16 * 1024));
    let written = 0;
    while (socket.write(chunk) && written < 1000) written++;
    expect(written).toBeLessThan(1000);
    expect(stream.readableLength).toBeLessThanOrEqual(128 * 1024);
  });

  it('gives a slow reader what came before the connection closed', async () => {
    const { socket, stream } = attach();
    const text = 'x'.repeat(900);
    socket.write(piece(1, text));
    await new Promise((resolve) => setImmediate(resolve));
    socket.destroy();
    await once(socket, 'close');
    expect(await textOf(stream)).toBe(text);
    expect(stream.destroyed).toBe(true);
  });

  it('is destroyed with its connection', async () => {
    const { socket, stream } = attach();
    socket.destroy(new Error('the daemon died'));
    const [error] = await once(stream, 'error');
    expect(String(error)).toContain('the daemon died');
    expect(stream.destroyed).toBe(true);
  });
});
