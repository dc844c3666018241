/**
 * The compressions of Kafka that the client does not bring: without them one producer with another `compression.type`
 * would stop the engine. Reading only, bounded; what we send is not compressed.
 */
import { promisify } from 'node:util';
import { gunzip, zstdDecompress } from 'node:zlib';
import kafkajs from 'kafkajs';
import { decompressLz4Frames } from './lz4.ts';
import { decompressSnappy } from './snappy.ts';

/** Of one batch of records. A broker takes about 1 MiB of compressed bytes by default. */
export const MAX_DECOMPRESSED_BYTES = 64 * 1024 * 1024;

const gunzipAsync = promisify(gunzip);
const zstdDecompressAsync = promisify(zstdDecompress);
const bound = { maxOutputLength: MAX_DECOMPRESSED_BYTES };

/** Registers them with the client, for the whole process. */
export function registerCompressions(): void {
  const { CompressionCodecs, CompressionTypes } = kafkajs;
  const reader = (decompress: (bytes: Buffer) => Promise<Buffer>) => () => ({ compress: refuse, decompress });
  CompressionCodecs[CompressionTypes.GZIP] = reader((bytes) => gunzipAsync(bytes, bound));
  CompressionCodecs[CompressionTypes.ZSTD] = reader((bytes) => zstdDecompressAsync(bytes, bound));
  CompressionCodecs[CompressionTypes.LZ4] = reader(async (bytes) => decompressLz4Frames(bytes, MAX_DECOMPRESSED_BYTES));
  CompressionCodecs[CompressionTypes.Snappy] = reader(async (bytes) => decompressSnappy(bytes, MAX_DECOMPRESSED_BYTES));
}

async function refuse(): Promise<Buffer> {
  throw new Error('the engine sends nothing compressed');
}
