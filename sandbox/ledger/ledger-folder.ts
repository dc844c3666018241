/**
 * Small facts that outlive this process: one JSON file an entry in a folder of our own, the whole of it in memory.
 * Knows nothing of what the facts mean.
 *
 * Invariants:
 *   F1. A file is whole or not there: written beside and renamed, mode 0600, in a folder of mode 0700.
 *   F2. Reads are from memory and at once; writes are seen at once here and reach the disk in order.
 *   F3. What another process wrote or removed is seen within a poll. Of one entry written by two, one wins whole.
 *   F4. A damaged file costs its own entry and no other; it is set aside and told. A folder that cannot be used costs
 *       what would be remembered beyond this process, never the start.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '@flowops/proto/content-store.ts';
import { messageOf } from '@flowops/proto/errors.ts';
import { parseJson } from '@flowops/proto/json.ts';
import type { z } from 'zod';

/** Entries are a few names and dates. */
const MAX_ENTRY_BYTES = 8 * 1024;
/** Soon enough for a person who waits for it; one stat a second costs nothing. */
const POLL_MS = 1000;
/** A folder's mtime is as coarse as the kernel's tick: a look this soon after a change may have missed one. */
const RACY_MS = 50;
const SUFFIX = '.json';

export interface LedgerLog {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export interface LedgerFolderOptions<Entry> {
  readonly dir: string;
  /** "names of plugins", for messages. */
  readonly what: string;
  readonly schema: z.ZodType<Entry>;
  readonly keyOf: (entry: Entry) => string;
  readonly log: LedgerLog;
  /** Absent: changes of others are not followed (a command that looks once). */
  readonly pollMs?: number;
}

interface KnownFile {
  readonly stamp: string;
  readonly key: string;
}

export class LedgerFolder<Entry> {
  readonly #options: LedgerFolderOptions<Entry>;
  readonly #entries = new Map<string, Entry>();
  /** File name → what was read of it. */
  readonly #files = new Map<string, KnownFile>();
  /** Keys whose file is not as in memory yet. */
  readonly #dirty = new Set<string>();
  #writing: Promise<void> = Promise.resolve();
  #reading: Promise<void> = Promise.resolve();
  #look = { stamp: '', atMs: 0 };
  #isUnusable = false;
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: LedgerFolderOptions<Entry>) {
    this.#options = options;
  }

  /** Never throws for what is on the disk. */
  static async open<Entry>(options: LedgerFolderOptions<Entry>): Promise<LedgerFolder<Entry>> {
    const ledger = new LedgerFolder(options);
    try {
      await mkdir(options.dir, { recursive: true, mode: 0o700 });
      await ledger.#readAll();
    } catch (thrown) {
      ledger.#giveUp(messageOf(thrown));
    }
    if (options.pollMs !== undefined) {
      ledger.#timer = setInterval(() => void ledger.refresh(), options.pollMs);
      ledger.#timer.unref();
    }
    return ledger;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  values(): Entry[] {
    return [...this.#entries.values()];
  }

  put(entry: Entry): void {
    const key = this.#options.keyOf(entry);
    this.#entries.set(key, entry);
    this.#write(key);
  }

  remove(key: string): void {
    if (!this.#entries.delete(key)) return;
    this.#write(key);
  }

  /** Takes in what others changed. Never rejects. */
  refresh(): Promise<void> {
    this.#reading = this.#reading
      .then(() => (this.#isUnusable ? undefined : this.#readAll()))
      .catch((thrown: unknown) => this.#giveUp(messageOf(thrown)));
    return this.#reading;
  }

  /** Resolves when what was put and removed before is on the disk, or was told to have failed. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** Idempotent. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#reading;
    await this.#writing;
  }

  #write(key: string): void {
    if (this.#isUnusable) return;
    this.#dirty.add(key);
    this.#writing = this.#writing.then(() => this.#writeNow(key));
  }

  async #writeNow(key: string): Promise<void> {
    if (!this.#dirty.has(key) || this.#isUnusable) return; // an earlier turn wrote the newest already
    const path = join(this.#options.dir, fileOf(key));
    try {
      let written: Entry | undefined;
      do {
        written = this.#entries.get(key);
        if (written === undefined) await rm(path, { force: true });
        else await writeAtomically(path, `${JSON.stringify(written)}\n`);
      } while (written !== this.#entries.get(key));
      // An empty stamp: whoever changes it next is read.
      if (this.#entries.has(key)) this.#files.set(fileOf(key), { stamp: '', key });
      else this.#files.delete(fileOf(key));
    } catch (thrown) {
      this.#giveUp(messageOf(thrown));
    } finally {
      this.#dirty.delete(key);
    }
  }

  async #readAll(): Promise<void> {
    const { dir } = this.#options;
    const { mtimeMs, mtimeNs } = await folderTimes(dir);
    const isTrusted = this.#look.stamp === mtimeNs && this.#look.atMs - mtimeMs > RACY_MS;
    if (isTrusted) return;
    this.#look = { stamp: mtimeNs, atMs: Date.now() };
    const before = [...this.#files];
    const names = (await readdir(dir)).filter((name) => name.endsWith(SUFFIX));
    for (const name of names) await this.#readOne(name);
    const present = new Set(names);
    for (const [name, known] of before) {
      // What we wrote meanwhile may be newer than the list of names.
      if (present.has(name) || this.#files.get(name) !== known || this.#dirty.has(known.key)) continue;
      this.#files.delete(name);
      this.#entries.delete(known.key);
    }
  }

  async #readOne(name: string): Promise<void> {
    const { dir, schema, keyOf } = this.#options;
    const path = join(dir, name);
    const status = await stat(path, { bigint: true }).catch(() => undefined);
    if (status === undefined) return; // removed meanwhile
    const stamp = `${status.ino}:${status.size}:${status.mtimeNs}`;
    const known = this.#files.get(name);
    if (known?.stamp === stamp) return;
    if (status.size > MAX_ENTRY_BYTES) return await this.#setAside(name, `it has ${status.size} bytes`);
    const text = await readFile(path, 'utf8').catch(() => undefined);
    if (text === undefined) return;
    const parsed = parseJson(text);
    const checked = schema.safeParse(parsed.ok ? parsed.value : undefined);
    if (!checked.success) return await this.#setAside(name, 'it is not what was written there');
    const key = keyOf(checked.data);
    if (fileOf(key) !== name) return await this.#setAside(name, 'it belongs under another name');
    if (this.#dirty.has(key) || this.#files.get(name) !== known) return; // ours is newer
    this.#files.set(name, { stamp, key });
    this.#entries.set(key, checked.data);
  }

  async #setAside(name: string, problem: string): Promise<void> {
    const { dir, what, log } = this.#options;
    const path = join(dir, name);
    const aside = `${path}.damaged`;
    await rename(path, aside);
    log.error(`one of the ${what} is lost, ${problem}; it was set aside as ${aside}`);
  }

  #giveUp(problem: string): void {
    if (this.#isUnusable) return;
    this.#isUnusable = true;
    const { dir, what, log } = this.#options;
    log.error(
      `the ${what} cannot be kept in ${dir} (${problem}): this host forgets new ones when it ends. Let it write there, ` +
        'or name another folder with FLOWOPS_HOME',
    );
  }
}

export const LEDGER_POLL_MS = POLL_MS;

function fileOf(key: string): string {
  return `${createHash('sha256').update(key).digest('hex').slice(0, 32)}${SUFFIX}`;
}

async function folderTimes(dir: string): Promise<{ mtimeMs: number; mtimeNs: string }> {
  const { mtimeNs, ino } = await stat(dir, { bigint: true });
  return { mtimeMs: Number(mtimeNs / 1_000_000n), mtimeNs: `${ino}:${mtimeNs}` };
}
