/**
 * Reading and writing the files of one published version: the bundle and its companions. Every write is whole or not at
 * all, and a bundle is never written over another. Knows no folder layout.
 */
import { randomBytes } from 'node:crypto';
import { link, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { MAX_SIGNATURE_TEXT_BYTES, parseSignature } from '@flowops/proto/bundle-signature.ts';
import { writeAtomically } from '@flowops/proto/content-store.ts';
import { messageOf } from '@flowops/proto/errors.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import type { Manifest } from '@flowops/proto/manifest.ts';
import { MAX_BUNDLE_BYTES, readBundleManifest } from '@flowops/proto/manifest.ts';

/** A source map travels in one message with the signature, and gRPC's usual limit for a message is 4 MiB. */
export const MAX_SOURCE_MAP_BYTES = 3 * 1024 * 1024;
/** Bundles are public to whoever may read the folder. */
export const FILE_MODE = 0o644;

export interface Companions {
  /** Text of the .sig file. */
  readonly signature?: string;
  readonly sourceMap?: string;
}

/** What a bundle file says, as long as its stat stays the same. */
export type IndexedContent =
  | { readonly ok: true; readonly digest: string; readonly manifest: Manifest; readonly publishedAt: Date }
  | { readonly ok: false; readonly problem: string };

export async function readCompanions(path: string): Promise<Companions> {
  const signature = await readSignature(path);
  const sourceMap = await readBounded(`${path}.map`, MAX_SOURCE_MAP_BYTES);
  return { ...(signature === undefined ? {} : { signature }), ...(sourceMap === undefined ? {} : { sourceMap }) };
}

export function readSignature(path: string): Promise<string | undefined> {
  return readBounded(`${path}.sig`, MAX_SIGNATURE_TEXT_BYTES);
}

export function companionProblem(companions: Companions): string | undefined {
  const { signature, sourceMap } = companions;
  if (signature !== undefined) {
    const parsed = parseSignature(signature);
    if (!parsed.ok) return `the signature ${parsed.problem}`;
  }
  if (sourceMap !== undefined && Buffer.byteLength(sourceMap) > MAX_SOURCE_MAP_BYTES) {
    return `the source map is over ${MAX_SOURCE_MAP_BYTES} bytes`;
  }
  return undefined;
}

export async function indexFile(
  path: string,
  version: string,
  status: { size: number; mtime: Date },
): Promise<IndexedContent> {
  if (status.size > MAX_BUNDLE_BYTES) {
    return { ok: false, problem: `the file has ${status.size} bytes; at most ${MAX_BUNDLE_BYTES} are allowed` };
  }
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (thrown) {
    return { ok: false, problem: messageOf(thrown) };
  }
  const read = readBundleManifest(bytes);
  if (!read.ok) return read;
  if (read.manifest.version !== version) {
    return { ok: false, problem: `the file says version ${version}, its manifest ${read.manifest.version}` };
  }
  return { ok: true, digest: digestOf(bytes), manifest: read.manifest, publishedAt: status.mtime };
}

export async function writeCompanions(path: string, companions: Companions): Promise<void> {
  if (companions.signature !== undefined) await writeAtomically(`${path}.sig`, companions.signature, FILE_MODE);
  if (companions.sourceMap !== undefined) await writeAtomically(`${path}.map`, companions.sourceMap, FILE_MODE);
}

/** What a publisher left that died before its bundle was there: it belongs to other bytes. */
export async function removeCompanions(path: string): Promise<void> {
  await Promise.all(['.sig', '.map'].map((suffix) => rm(`${path}${suffix}`, { force: true })));
}

/** Creates a file whole, and never over one that exists: another process may publish the same version. */
export async function createWhole(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await writeAtomically(temporary, bytes, FILE_MODE);
    try {
      await link(temporary, path);
    } catch (thrown) {
      const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
      if (code === 'EEXIST') return; // the caller compares the bytes that are there
      // File systems without hard links: rename is atomic too, only not exclusive.
      await rename(temporary, path);
    }
  } finally {
    await rm(temporary, { force: true });
  }
}

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function readBounded(path: string, maxBytes: number): Promise<string | undefined> {
  const status = await stat(path).catch(() => undefined);
  if (status === undefined || status.size > maxBytes) return undefined;
  return await readFile(path, 'utf8').catch(() => undefined);
}
