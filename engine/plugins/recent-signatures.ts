/**
 * A plugin source whose signatures are asked for once in a moment and not once an attempt: each question looks into
 * files, by way of threads, and every step would wait for that. What a source is asked by a START is never kept back.
 */
import type { BundleResult, PluginSource, ResolveResult } from '@flowops/proto/plugin-source.ts';

/** How long an answer counts: a step that follows another is quicker, an operator who signs waits no longer. */
const FRESH_MS = 250;
/** Plugins of the steps that start within that time; beyond, the files are asked again. */
const MAX_ANSWERS = 1_000;

interface Pinned {
  readonly pluginId: string;
  readonly version: string;
  readonly digest: string;
}

interface Answer {
  readonly askedAtMs: number;
  readonly signature: Promise<string | undefined>;
}

export class RecentSignatures implements PluginSource {
  readonly #source: PluginSource;
  readonly #now: () => number;
  readonly #answers = new Map<string, Answer>();

  constructor(source: PluginSource, now: () => number = () => performance.now()) {
    this.#source = source;
    this.#now = now;
  }

  async resolve(pluginId: string, version: string | undefined, signal: AbortSignal): Promise<ResolveResult> {
    const resolved = await this.#source.resolve(pluginId, version, signal);
    // It may have brought a signature, also one for bytes that other runs have pinned.
    this.#answers.clear();
    return resolved;
  }

  signature(plugin: Pinned): Promise<string | undefined> {
    const key = JSON.stringify([plugin.pluginId, plugin.version, plugin.digest]);
    const known = this.#answers.get(key);
    if (known !== undefined && this.#now() - known.askedAtMs < FRESH_MS) return known.signature;
    if (this.#answers.size >= MAX_ANSWERS) this.#answers.clear();
    const signature = this.#source.signature(plugin);
    this.#answers.set(key, { askedAtMs: this.#now(), signature });
    return signature;
  }

  bundle(plugin: Pinned, signal: AbortSignal): Promise<BundleResult> {
    return this.#source.bundle(plugin, signal);
  }

  sourceMap(digest: string): Promise<string | undefined> {
    return this.#source.sourceMap(digest);
  }

  names(signal: AbortSignal): Promise<readonly string[]> {
    return this.#source.names(signal);
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}
