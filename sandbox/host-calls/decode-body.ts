/**
 * The body of an answer after its content codings (RFC 9110, 8.4): gzip, deflate, br, zstd. A stream, so that whoever
 * reads it can stop at any byte; nothing here holds more than a window.
 */
import { pipeline, Readable, type Transform } from 'node:stream';
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib';

/** What we say in Accept-Encoding. */
export const ACCEPTED_CODINGS = 'gzip, deflate, br, zstd';
/** One is usual; a chain of them is a bomb in wrappings. */
const MAX_CODINGS = 2;
/** The largest window that HTTP allows (RFC 9659): 8 MiB. */
const ZSTD_WINDOW_LOG = 23;

// What a server that ends too early sent is decoded as far as it came, as browsers do.
const LENIENT = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH };
const LENIENT_BROTLI = { flush: constants.BROTLI_OPERATION_FLUSH, finishFlush: constants.BROTLI_OPERATION_FLUSH };

type Decode = (source: Readable) => Readable;

const DECODERS: Readonly<Record<string, Decode>> = {
  gzip: (source) => through(source, createGunzip(LENIENT)),
  'x-gzip': (source) => through(source, createGunzip(LENIENT)),
  deflate: (source) => Readable.from(inflateAny(source), { objectMode: false }),
  br: (source) => through(source, createBrotliDecompress(LENIENT_BROTLI)),
  zstd: (source) =>
    through(source, createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } })),
};

export type DecodedBody =
  | { readonly ok: true; readonly body: Readable }
  | { readonly ok: false; readonly problem: string };

/** Destroying the body destroys the source. */
export function decodeBody(source: Readable, contentEncoding: string): DecodedBody {
  const codings = contentEncoding
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== '' && coding !== 'identity');
  if (codings.length > MAX_CODINGS) return { ok: false, problem: `its body is encoded ${codings.length} times` };
  let body = source;
  for (const coding of codings.toReversed()) {
    const decode = Object.hasOwn(DECODERS, coding) ? DECODERS[coding] : undefined;
    // As in the Fetch standard: a coding that nobody asked for is the plugin's to read.
    if (decode === undefined) return { ok: true, body: source };
    body = decode(body);
  }
  return { ok: true, body };
}

/** Errors go both ways; who reads sees them. */
function through(source: Readable, decoder: Transform): Readable {
  pipeline(source, decoder, () => {});
  return decoder;
}

/** Some servers send zlib's format, as they should, some the bare one; the first byte tells which. */
async function* inflateAny(source: Readable): AsyncGenerator<Buffer> {
  const chunks = source[Symbol.asyncIterator]();
  const first: IteratorResult<Buffer> = await chunks.next();
  if (first.done === true) return;
  const isZlib = ((first.value[0] ?? 0) & 0x0f) === 8;
  const rest = Readable.from(prepend(first.value, chunks), { objectMode: false });
  yield* through(rest, isZlib ? createInflate(LENIENT) : createInflateRaw(LENIENT));
}

async function* prepend(first: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield first;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}
