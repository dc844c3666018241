/**
 * What plugin services said about versions, one small JSON file a (server, pluginId): which id names a version, and
 * which digest its bytes had. So that an old server, which cannot tell a digest, is not asked for bytes that are in the
 * cache, also after a restart. Only hints: whatever is read here is checked against the bundle cache before use.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '@flowops/proto/content-store.ts';
import { messageOf } from '@flowops/proto/errors.ts';
import { digestSchema } from '@flowops/proto/ids.ts';
import { parseJson } from '@flowops/proto/json.ts';
import { z } from 'zod';

/** Versions kept of one plugin, the newest said last; older ones only cost a fetch. */
const MAX_VERSIONS = 100;
/** Plugins whose file is kept in memory. */
const MAX_LOADED = 2_000;

const seenVersionSchema = z.object({
  id: z.string().max(256),
  version: z.string().max(256),
  uploadTime: z.string().max(256),
  digest: digestSchema,
});
const seenPluginSchema = z.object({
  server: z.string(),
  pluginId: z.string(),
  versions: z.array(seenVersionSchema).max(MAX_VERSIONS),
});

/** One version as a server described it, and the digest its bytes had. `id` may be empty. */
export type SeenVersion = z.output<typeof seenVersionSchema>;

export interface VersionIndexOptions {
  readonly dir: string;
  /** `host:port` of the plugin service. */
  readonly server: string;
  readonly onProblem?: (message: string) => void;
}

export class VersionIndex {
  readonly #dir: string;
  readonly #server: string;
  readonly #onProblem: (message: string) => void;
  readonly #loaded = new Map<string, Promise<readonly SeenVersion[]>>();

  constructor(options: VersionIndexOptions) {
    this.#dir = options.dir;
    this.#server = options.server;
    this.#onProblem = options.onProblem ?? (() => {});
  }

  /** Oldest first. */
  versions(pluginId: string): Promise<readonly SeenVersion[]> {
    let loaded = this.#loaded.get(pluginId);
    if (loaded === undefined) {
      loaded = this.#load(pluginId);
      this.#keep(pluginId, loaded);
    }
    return loaded;
  }

  async remember(pluginId: string, seen: SeenVersion): Promise<void> {
    // Kept before anything is awaited: two versions remembered at the same time both stay.
    const updated = this.versions(pluginId).then((known) => {
      const others = known.filter((other) => other.id !== seen.id || other.version !== seen.version);
      return [...others, seen].slice(-MAX_VERSIONS);
    });
    this.#keep(pluginId, updated);
    const versions = await updated;
    try {
      await mkdir(this.#dir, { recursive: true, mode: 0o700 });
      await writeAtomically(this.#path(pluginId), JSON.stringify({ server: this.#server, pluginId, versions }));
    } catch (thrown) {
      this.#onProblem(`cannot write in ${this.#dir}: ${messageOf(thrown)}`);
    }
  }

  async #load(pluginId: string): Promise<readonly SeenVersion[]> {
    const text = await readFile(this.#path(pluginId), 'utf8').catch(() => undefined);
    if (text === undefined) return [];
    const parsed = parseJson(text);
    const checked = seenPluginSchema.safeParse(parsed.ok ? parsed.value : undefined);
    if (!checked.success || checked.data.server !== this.#server || checked.data.pluginId !== pluginId) return [];
    return checked.data.versions;
  }

  #keep(pluginId: string, versions: Promise<readonly SeenVersion[]>): void {
    this.#loaded.delete(pluginId);
    this.#loaded.set(pluginId, versions);
    const [oldest] = this.#loaded.keys();
    if (this.#loaded.size > MAX_LOADED && oldest !== undefined) this.#loaded.delete(oldest);
  }

  #path(pluginId: string): string {
    const name = createHash('sha256').update(`${this.#server}\n${pluginId}`).digest('hex');
    return join(this.#dir, `${name}.json`);
  }
}
