/**
 * Builds on disk, so that a source which did not change is not built again. In `<cacheDir>/builds/`: `<key>.json` says
 * from which files a bundle was made, `manifest-<key>.json` what a sandbox told of some code, `bundles/` holds the bundles
 * and their maps under their digests.
 *
 * A hint, not an authority: a record counts only while every file it names has the size and times it had, and the bytes
 * are read by their digest. The sandbox compares the manifest with the code's own word at every run. A cache that
 * cannot be written costs speed only.
 */
import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { ContentStore, writeAtomically } from '@flowops/proto/content-store.ts';
import { digestSchema } from '@flowops/proto/ids.ts';
import { parseJson } from '@flowops/proto/json.ts';
import { type Manifest, manifestSchema } from '@flowops/proto/manifest.ts';
import { z } from 'zod';
import type { BuiltPlugin } from './build-result.ts';
import { authorsFiles } from './source-names.ts';

/** Raised when the same sources would give other bytes than before. */
const BUILD_FORMAT = 3;
/** Far more plugins than a person works on; the oldest records go first. */
const MAX_RECORDS = 2000;
const SWEEP_TO_RECORDS = 1500;
/** Thousands of usual bundles, a few dozen at the cap of their size. */
const MAX_STORED_BYTES = 256 * 1024 * 1024;
/** The kernel stamps files with a clock that moves at each timer tick: at least 100 times a second. */
const FILE_CLOCK_TICK_MS = 10;

const fileSchema = z.object({ path: z.string(), size: z.string(), mtime: z.string(), ctime: z.string() });
type FileState = z.output<typeof fileSchema>;

const problemSchema = z.object({
  message: z.string(),
  file: z.string().exactOptional(),
  line: z.number().exactOptional(),
  column: z.number().exactOptional(),
  frame: z.string().exactOptional(),
  notes: z.array(z.string()).exactOptional(),
});
const recordSchema = z.object({
  format: z.literal(BUILD_FORMAT),
  digest: digestSchema,
  manifest: manifestSchema,
  warnings: z.array(problemSchema),
  files: z.array(fileSchema),
  /** Paths that were looked for and not there; one that appeared may change what the build takes. */
  absent: z.array(z.string()),
});

export interface BuildInputs {
  /** Every file that had a part in the bytes. */
  readonly files: readonly string[];
  readonly absent: readonly string[];
}

/** Apart from the bundles that runs are pinned to (`<cacheDir>/bundles`): these may go at any time. */
function buildStore(cacheDir: string): ContentStore {
  return new ContentStore({ dir: path.join(cacheDir, 'builds', 'bundles'), maxBytes: MAX_STORED_BYTES });
}

/** The build of the file, when nothing it was made from has changed. */
export async function readCachedBuild(cacheDir: string, file: string): Promise<BuiltPlugin | undefined> {
  const text = await readFile(recordPath(cacheDir, file), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const record = parseRecord(text);
  if (record === undefined || !(await isUnchanged(record))) return undefined;
  const content = await buildStore(cacheDir).read(record.digest);
  if (content === undefined) return undefined;
  const { digest, manifest, warnings } = record;
  const sources = authorsFiles(record.files.map(({ path: source }) => source));
  return { ok: true, bundle: content.bytes, digest, manifest, sourceMap: content.sourceMap ?? '', warnings, sources };
}

/**
 * Keeps a build. Not when one of its files changed shortly before the build began or since: its state would vouch for
 * bytes that may not be those that were read.
 * @param inputs.startedMs epoch ms before the first file was read.
 */
export async function writeCachedBuild(
  cacheDir: string,
  file: string,
  built: BuiltPlugin,
  inputs: BuildInputs & { readonly startedMs: number },
): Promise<void> {
  const files: FileState[] = [];
  for (const state of await Promise.all([...new Set(inputs.files)].map(fileState))) {
    if (state === undefined || isFresh(state, inputs.startedMs)) return;
    files.push(state);
  }
  const stored = await buildStore(cacheDir).write({
    digest: built.digest,
    bytes: built.bundle,
    sourceMap: built.sourceMap,
  });
  if (!stored) return;
  const record = {
    format: BUILD_FORMAT,
    digest: built.digest,
    manifest: built.manifest,
    warnings: built.warnings,
    files,
    absent: [...new Set(inputs.absent)],
  };
  await writeEntry(cacheDir, recordPath(cacheDir, file), JSON.stringify(record));
}

/** What a sandbox told of this exact code before. */
export async function readCachedManifest(cacheDir: string, code: string): Promise<Manifest | undefined> {
  const text = await readFile(manifestPath(cacheDir, code), 'utf8').catch(() => undefined);
  const parsed = text === undefined ? undefined : parseJson(text);
  return parsed?.ok === true ? manifestSchema.safeParse(parsed.value).data : undefined;
}

export async function writeCachedManifest(cacheDir: string, code: string, manifest: Manifest): Promise<void> {
  await writeEntry(cacheDir, manifestPath(cacheDir, code), JSON.stringify(manifest));
}

async function writeEntry(cacheDir: string, file: string, text: string): Promise<void> {
  const folder = path.join(cacheDir, 'builds');
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeAtomically(file, text);
    await sweep(folder);
  } catch {
    // A full or read-only disk costs speed only: the next build starts from the sources again.
  }
}

function manifestPath(cacheDir: string, code: string): string {
  const key = createHash('sha256').update(`${BUILD_FORMAT}\0${code}`).digest('hex');
  return path.join(cacheDir, 'builds', `manifest-${key}.json`);
}

function recordPath(cacheDir: string, file: string): string {
  const key = createHash('sha256').update(`${BUILD_FORMAT}\0${file}`).digest('hex');
  return path.join(cacheDir, 'builds', `${key}.json`);
}

function parseRecord(text: string): z.output<typeof recordSchema> | undefined {
  try {
    return recordSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // cut off by a crash, or somebody's edit
  }
}

async function isUnchanged(record: z.output<typeof recordSchema>): Promise<boolean> {
  const [states, found] = await Promise.all([
    Promise.all(record.files.map(({ path }) => fileState(path))),
    Promise.all(record.absent.map((path) => stat(path).catch(() => undefined))),
  ]);
  if (found.some((status) => status !== undefined)) return false;
  return record.files.every((before, index) => {
    const now = states[index];
    return now !== undefined && now.size === before.size && now.mtime === before.mtime && now.ctime === before.ctime;
  });
}

async function fileState(file: string): Promise<FileState | undefined> {
  const status: BigIntStats | undefined = await stat(file, { bigint: true }).catch(() => undefined);
  if (status === undefined) return undefined;
  return { path: file, size: `${status.size}`, mtime: `${status.mtimeNs}`, ctime: `${status.ctimeNs}` };
}

function isFresh(state: FileState, startedMs: number): boolean {
  return BigInt(state.ctime) >= BigInt(Math.floor(startedMs - FILE_CLOCK_TICK_MS)) * 1_000_000n;
}

async function sweep(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.json'));
  if (names.length <= MAX_RECORDS) return;
  const aged = await Promise.all(
    names.map(async (name) => ({ name, mtimeMs: (await stat(path.join(folder, name))).mtimeMs })),
  );
  aged.sort((a, b) => a.mtimeMs - b.mtimeMs);
  const old = aged.slice(0, aged.length - SWEEP_TO_RECORDS);
  await Promise.all(old.map(({ name }) => rm(path.join(folder, name), { force: true })));
}
