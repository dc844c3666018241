/**
 * The packed SDK of a clone, made again only when something that goes into it changed. Kept under `.cache/packages`:
 * the file and, beside it, what it was made of and its own hash, so that neither can pass for that of another time.
 */
import { createHash, randomUUID } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { ROOT } from '../node24.mjs';
import { sdkPackage } from './sdk-package.ts';
import { tarball } from './tarball.ts';

export const PACKAGES_FOLDER = join(ROOT, '.cache', 'packages');
/** More than what goes in: that is known only after it was made. */
const SOURCES = ['sdk/*.ts', 'proto/*.ts', 'bin/pack/*', 'package.json', 'tsconfig.json', 'LICENSE'];

const stampSchema = z.object({ sources: z.string(), file: z.string() });

/** The path of the `.tgz`. */
export async function keptSdk(): Promise<string> {
  const file = join(PACKAGES_FOLDER, 'flowops-sdk.tgz');
  const stampFile = `${file}.json`;
  const sources = hashOfSources();
  const [stamp, kept] = await Promise.all([readStamp(stampFile), readFile(file).catch(() => undefined)]);
  if (stamp?.sources === sources && kept !== undefined && stamp.file === sha256(kept)) return file;
  const made = tarball(await sdkPackage());
  await mkdir(PACKAGES_FOLDER, { recursive: true });
  await replaceFile(file, made);
  await replaceFile(stampFile, JSON.stringify({ sources, file: sha256(made) }));
  return file;
}

function hashOfSources(): string {
  const hash = createHash('sha256').update(process.version);
  for (const file of globSync(SOURCES, { cwd: ROOT }).sort()) {
    hash.update(`${file}\n`).update(readFileSync(join(ROOT, file)));
  }
  return hash.digest('hex');
}

async function readStamp(file: string): Promise<z.output<typeof stampSchema> | undefined> {
  try {
    return stampSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    return undefined; // nothing was packed yet, or by another version
  }
}

/** Two that pack at a time do not see half of each other's file. */
async function replaceFile(file: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${file}.${randomUUID()}.tmp`;
  await writeFile(temporary, content);
  await rename(temporary, file);
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
