/**
 * A package as npm takes it: a gzipped tar (POSIX ustar) whose entries lie below `package/`. The same files give the
 * same bytes: no times, no users, sorted by name. Written here, so that a plugin's folder can be made without npm.
 */
import { gzipSync } from 'node:zlib';

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;
const PREFIX_BYTES = 155;
const MODE_FILE = 0o644;
const MODE_PROGRAM = 0o755;
/** What npm writes too: some tools take a time before 1980 for none. */
const MTIME_SECONDS = 499_162_500;

export interface PackageFile {
  readonly content: string | Uint8Array;
  /** May be started by its name. */
  readonly isProgram?: boolean;
}

/** Files by their path in the package, with forward slashes. */
export type PackageFiles = ReadonlyMap<string, PackageFile>;

export function tarball(files: PackageFiles): Buffer {
  const blocks: Buffer[] = [];
  for (const [path, file] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const content = Buffer.from(file.content);
    const padding = (BLOCK_BYTES - (content.length % BLOCK_BYTES)) % BLOCK_BYTES;
    blocks.push(header(`package/${path}`, content.length, file.isProgram === true), content, Buffer.alloc(padding));
  }
  blocks.push(Buffer.alloc(2 * BLOCK_BYTES));
  return gzipSync(Buffer.concat(blocks), { level: 9 });
}

function header(path: string, sizeBytes: number, isProgram: boolean): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  const { prefix, name } = splitPath(path);
  block.write(name, 0);
  writeOctal(block, isProgram ? MODE_PROGRAM : MODE_FILE, { at: 100, digits: 7 });
  writeOctal(block, 0, { at: 108, digits: 7 });
  writeOctal(block, 0, { at: 116, digits: 7 });
  writeOctal(block, sizeBytes, { at: 124, digits: 11 });
  writeOctal(block, MTIME_SECONDS, { at: 136, digits: 11 });
  block.write('        ', 148); // the checksum counts itself as blanks
  block.write('0', 156);
  block.write('ustar\0', 257);
  block.write('00', 263);
  block.write(prefix, 345);
  const checksum = block.reduce((sum, byte) => sum + byte, 0);
  block.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

function writeOctal(block: Buffer, value: number, { at, digits }: { at: number; digits: number }): void {
  block.write(`${value.toString(8).padStart(digits, '0')}\0`, at);
}

/** A long path is told in two fields, cut at a slash. */
function splitPath(path: string): { prefix: string; name: string } {
  if (Buffer.byteLength(path) <= NAME_BYTES) return { prefix: '', name: path };
  const at = path.indexOf('/', path.length - NAME_BYTES - 1);
  const prefix = path.slice(0, at);
  if (at === -1 || Buffer.byteLength(prefix) > PREFIX_BYTES) throw new Error(`${path} is too long for a tar`);
  return { prefix, name: path.slice(at + 1) };
}
