/**
 * Plugins from a plugin service, for the engine: which version, its manifest, its bytes. Joins the connection (calls),
 * the bundle cache (bytes by digest) and the version index (what servers said about versions).
 *
 * Invariants: (1) a digest given by `resolve` is that of bytes that were read and are a bundle of the version named.
 * (2) A version that answers again within 2 s is not asked for again, and never twice at once. (3) Nothing a service
 * can answer throws. (4) A version resolved by what is in the cache still asks for its signature: bytes are often signed
 * after they came here. A service that has none, or is away, takes none back.
 */
import { join } from 'node:path';
import { printable } from '@flowops/proto/grpc-call.ts';
import { isDigest, nearestName, pluginVersionUuid } from '@flowops/proto/ids.ts';
import type { PluginMetadata } from '@flowops/proto/plugin_service_pb.js';
import type { BundleResult, PluginSource, ResolveResult } from '@flowops/proto/plugin-source.ts';
import semver from 'semver';
import type { BundleCache } from './bundle-cache.ts';
import { Limiter } from './limiter.ts';
import type { Failure } from './plugin-service-answers.ts';
import {
  abortedResult,
  describePlugin,
  explainFailure,
  invalidAnswer,
  isRefusal,
  isWorthAskingOtherwise,
  malformedQuestion,
  wrongPlugin,
} from './plugin-service-answers.ts';
import type { CallDeadlines, FetchFailure, FetchResult } from './plugin-service-connection.ts';
import { isSignature, PluginServiceConnection } from './plugin-service-connection.ts';
import { SingleFlight } from './single-flight.ts';
import type { SeenVersion } from './version-index.ts';
import { VersionIndex } from './version-index.ts';

/** How old an answer about a version may be: a new release is seen after this, a burst of STARTs asks once. */
export const ANSWER_FRESH_MS = 2_000;
/** Answers kept that long; more plugins than this in 2 s are asked for again. */
const MAX_FRESH_ANSWERS = 5_000;
/** Calls at once for one engine: a START of a thousand plugins must not become a thousand calls. */
const MAX_CALLS = 32;
/** Bundles on the way at once: each may hold 16 MiB of memory. */
const MAX_FETCHES = 4;
/** Versions looked through for a digest that is not in the cache, a small answer each. */
const MAX_SEARCHED_VERSIONS = 500;
/** Of them, those whose bytes have to be read, since the service does not tell their digest. */
const MAX_SEARCHED_BYTES = 20;

export interface PluginServiceOptions {
  /** `host:port`, PLUGIN_SERVICE_ADDRESS. */
  readonly address: string;
  readonly cache: BundleCache;
  /** `<FLOWOPS_HOME>/cache`. */
  readonly cacheDir: string;
  readonly deadlines?: CallDeadlines;
  readonly onProblem?: (message: string) => void;
  /** Milliseconds that only go forward; for tests. */
  readonly now?: () => number;
}

/** The version a service named, checked against the question. */
type Described = { readonly ok: true; readonly metadata: PluginMetadata } | Failure;

export class PluginServiceSource implements PluginSource {
  readonly #address: string;
  readonly #cache: BundleCache;
  readonly #index: VersionIndex;
  readonly #connection: PluginServiceConnection;
  readonly #now: () => number;
  readonly #closing = new AbortController();
  readonly #calls = new Limiter(MAX_CALLS);
  readonly #fetches = new Limiter(MAX_FETCHES);
  readonly #resolving = new SingleFlight<ResolveResult>();
  readonly #fetching = new SingleFlight<BundleResult>();
  readonly #answers = new Map<string, { readonly result: ResolveResult; readonly untilMs: number }>();
  #names: { readonly names: readonly string[]; readonly untilMs: number } | undefined;

  constructor(options: PluginServiceOptions) {
    this.#address = options.address;
    this.#cache = options.cache;
    this.#now = options.now ?? (() => performance.now());
    this.#connection = new PluginServiceConnection(options.address, options.deadlines);
    this.#index = new VersionIndex({
      dir: join(options.cacheDir, 'versions'),
      server: options.address,
      ...(options.onProblem === undefined ? {} : { onProblem: options.onProblem }),
    });
  }

  async resolve(pluginId: string, version: string | undefined, signal: AbortSignal): Promise<ResolveResult> {
    const what = describePlugin(pluginId, version);
    const problem = malformedQuestion(pluginId, version);
    if (problem !== undefined) return { ok: false, code: 'PLUGIN_NOT_FOUND', message: `${what}: ${problem}` };
    const key = `${pluginId.toLowerCase()}@${version ?? ''}`;
    const fresh = this.#answers.get(key);
    if (fresh !== undefined && fresh.untilMs > this.#now()) return fresh.result;
    return await this.#resolving.run(
      key,
      signal,
      () => abortedResult(signal, what),
      async (shared) => {
        const result = await this.#resolveNow(pluginId, version, this.#untilClosed(shared));
        if (result.ok) this.#keepAnswer(key, result);
        return result;
      },
    );
  }

  async bundle(
    plugin: { pluginId: string; version: string; digest: string },
    signal: AbortSignal,
  ): Promise<BundleResult> {
    const cached = await this.#cache.get(plugin.digest);
    if (cached !== undefined) return { ok: true, bundle: cached };
    const what = describePlugin(plugin.pluginId, plugin.version);
    return await this.#fetching.run(
      `${plugin.pluginId}@${plugin.digest}`,
      signal,
      () => abortedResult(signal, what),
      (shared) => this.#fetchPinned(plugin, this.#untilClosed(shared)),
    );
  }

  signature({ digest }: { digest: string }): Promise<string | undefined> {
    return this.#cache.signatureOf(digest);
  }

  async sourceMap(digest: string): Promise<string | undefined> {
    return (await this.#cache.get(digest))?.sourceMap;
  }

  async names(signal: AbortSignal): Promise<readonly string[]> {
    if (this.#names !== undefined && this.#names.untilMs > this.#now()) return this.#names.names;
    const listed = (await this.#connection.list(this.#untilClosed(signal))) ?? [];
    const names = [...new Set(listed.map((metadata) => metadata.pluginId))];
    this.#names = { names, untilMs: this.#now() + ANSWER_FRESH_MS };
    return names;
  }

  /** Idempotent. Whoever still waits is told CANCELLED. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#connection.close();
  }

  #untilClosed(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#closing.signal]);
  }

  async #resolveNow(pluginId: string, version: string | undefined, signal: AbortSignal): Promise<ResolveResult> {
    if (version !== undefined && isDigest(version)) return await this.#resolveDigest(pluginId, version, signal);
    const described = await this.#describeVersion(pluginId, version, signal);
    if (!described.ok) return await this.#withKnownBytes(pluginId, version, described);
    return await this.#resolveDescribed(pluginId, described.metadata, signal);
  }

  /** From a service's description to a digest: the one its bytes had before, else its bytes. */
  async #resolveDescribed(pluginId: string, metadata: PluginMetadata, signal: AbortSignal): Promise<ResolveResult> {
    const { id, version, uploadTime } = metadata;
    const seen = (await this.#index.versions(pluginId)).findLast(
      (one) => one.id === id && one.uploadTime === uploadTime && (one.version === version || version === ''),
    );
    const known = seen === undefined ? undefined : await this.#cache.manifestOf(seen.digest);
    if (seen !== undefined && known !== undefined) {
      await this.#refreshSignature(pluginId, seen.id, seen.digest, signal);
      return { ok: true, plugin: { pluginId, digest: seen.digest, manifest: known } };
    }
    const what = describePlugin(pluginId, version);
    const fetched = await this.#fetch(pluginId, [id, ''], signal);
    if (!fetched.ok) return this.#explain(fetched, what, signal);
    const read = await this.#cache.put(fetched.value);
    if (!read.ok) return invalidAnswer(what, this.#address, read.problem);
    const { manifest } = read;
    if (version !== '' && manifest.version !== version) {
      const told = `it is described as ${printable(version, 64)}, its bytes say ${manifest.version}`;
      return invalidAnswer(what, this.#address, told);
    }
    const { digest } = fetched.value;
    await this.#index.remember(pluginId, { id, version: manifest.version, uploadTime, digest });
    return { ok: true, plugin: { pluginId, digest, manifest } };
  }

  /**
   * Asks for a version, or for the latest. Some services parse the id as a UUID and fail on the empty one, others know
   * other ids than ours: so a known id and the empty one are both tried before the answer is no.
   */
  async #describeVersion(pluginId: string, version: string | undefined, signal: AbortSignal): Promise<Described> {
    const what = describePlugin(pluginId, version);
    const seen = await this.#index.versions(pluginId);
    const known = version === undefined ? highestRelease(seen) : seen.findLast((one) => one.version === version);
    const knownId = known?.id;
    const ids =
      version === undefined ? ['', knownId ?? ''] : [knownId || pluginVersionUuid(pluginId.toLowerCase(), version), ''];
    let refusal: Failure | undefined;
    for (const id of new Set(ids)) {
      const answer = await limited(this.#calls, signal, () => this.#connection.metadata(pluginId, id, signal));
      if (!answer.ok) {
        refusal ??= await this.#refused(this.#explain(answer, what, signal), pluginId, signal);
        if (isWorthAskingOtherwise(answer, version)) continue;
        return refusal;
      }
      const problem = wrongPlugin(answer.value, pluginId);
      if (problem !== undefined) return invalidAnswer(what, this.#address, problem);
      // A service that tells no version is taken by its bytes' word.
      const told = answer.value.version || version;
      if (version === undefined || told === version) {
        return { ok: true, metadata: { ...answer.value, version: told ?? '' } };
      }
      if (id !== '' && answer.value.id.toLowerCase() === id.toLowerCase()) {
        const other = printable(answer.value.version, 64);
        return invalidAnswer(what, this.#address, `under the id of that version it describes version ${other}`);
      }
      refusal ??= {
        ok: false,
        code: 'PLUGIN_NOT_FOUND',
        message: `${what} is not in the plugin service at ${this.#address}; the latest there is ${printable(answer.value.version, 64)}`,
      };
    }
    return refusal ?? { ok: false, code: 'PLUGIN_NOT_FOUND', message: `${what} is not published` };
  }

  /** Adds the nearest name to a plain "not found", when the service can list. */
  async #refused(failure: Failure, pluginId: string, signal: AbortSignal): Promise<Failure> {
    if (failure.code !== 'PLUGIN_NOT_FOUND') return failure;
    const names = await this.names(signal);
    if (names.includes(pluginId)) return failure;
    const nearest = nearestName(pluginId, names);
    if (nearest === undefined || failure.message.includes(nearest)) return failure;
    return { ...failure, message: `${failure.message}; the nearest is ${JSON.stringify(nearest)}` };
  }

  /** An exact version whose bytes are here is served also while the service is away. */
  async #withKnownBytes(pluginId: string, version: string | undefined, failure: Failure): Promise<ResolveResult> {
    if (version === undefined || failure.code !== 'SANDBOX_UNAVAILABLE') return failure;
    const seen = (await this.#index.versions(pluginId)).findLast((one) => one.version === version);
    const manifest = seen === undefined ? undefined : await this.#cache.manifestOf(seen.digest);
    if (seen === undefined || manifest === undefined) return failure;
    return { ok: true, plugin: { pluginId, digest: seen.digest, manifest } };
  }

  /** A version by its digest: one seen before, else the one that turns out to have it. Never the bytes of another plugin. */
  async #resolveDigest(pluginId: string, digest: string, signal: AbortSignal): Promise<ResolveResult> {
    const seen = (await this.#index.versions(pluginId)).findLast((one) => one.digest === digest);
    const known = seen === undefined ? undefined : await this.#cache.manifestOf(digest);
    if (seen !== undefined && known !== undefined) {
      await this.#refreshSignature(pluginId, seen.id, digest, signal);
      return { ok: true, plugin: { pluginId, digest, manifest: known } };
    }
    const latest = await this.#resolveNow(pluginId, undefined, signal);
    if (latest.ok ? latest.plugin.digest === digest : latest.code === 'SANDBOX_UNAVAILABLE') return latest;
    const listed = (await this.#connection.list(signal)) ?? [];
    const versions = listed.filter((one) => one.pluginId.toLowerCase() === pluginId.toLowerCase());
    let read = 0;
    for (const metadata of versions.slice(0, MAX_SEARCHED_VERSIONS)) {
      const told = await this.#tellsOf(pluginId, metadata.id, signal);
      if (told === undefined ? ++read > MAX_SEARCHED_BYTES : told.digest !== digest) continue;
      const resolved = await this.#resolveDescribed(pluginId, metadata, signal);
      if (resolved.ok && resolved.plugin.digest === digest) return resolved;
    }
    return {
      ok: false,
      code: 'PLUGIN_NOT_FOUND',
      message: `${describePlugin(pluginId, digest)} is not in the plugin service at ${this.#address}, nor in the cache`,
    };
  }

  async #fetchPinned(
    { pluginId, version, digest }: { pluginId: string; version: string; digest: string },
    signal: AbortSignal,
  ): Promise<BundleResult> {
    const what = describePlugin(pluginId, version);
    const seen = (await this.#index.versions(pluginId)).findLast((one) => one.version === version);
    const ids = [seen?.id || pluginVersionUuid(pluginId.toLowerCase(), version), ''];
    const fetched = await this.#fetch(pluginId, ids, signal);
    if (!fetched.ok) return this.#explain(fetched, what, signal);
    if (fetched.value.digest !== digest) {
      return invalidAnswer(what, this.#address, `the run began with ${digest}, it now gives ${fetched.value.digest}`);
    }
    const read = await this.#cache.put(fetched.value);
    return read.ok ? { ok: true, bundle: fetched.value } : invalidAnswer(what, this.#address, read.problem);
  }

  /** The bytes are here. Who signs them, and with which of his keys, may have changed since. */
  async #refreshSignature(pluginId: string, id: string, digest: string, signal: AbortSignal): Promise<void> {
    const told = await this.#tellsOf(pluginId, id, signal);
    if (told?.digest === digest && isSignature(told.signature)) await this.#cache.putSignature(digest, told.signature);
  }

  /** Digest and signature of a version; undefined when the service did not tell them. */
  async #tellsOf(pluginId: string, id: string, signal: AbortSignal) {
    const work = async () => ({ ok: true, told: await this.#connection.signature(pluginId, id, signal) }) as const;
    const asked = await limited(this.#calls, signal, work);
    return asked.ok && asked.told?.digest !== '' ? asked.told : undefined;
  }

  /** Asks for the bytes by each id in turn; the first refusal is what is reported. */
  async #fetch(pluginId: string, ids: readonly string[], signal: AbortSignal): Promise<FetchResult> {
    let refusal: FetchFailure | undefined;
    for (const id of new Set(ids)) {
      const fetched = await limited(this.#fetches, signal, () => this.#connection.fetch(pluginId, id, signal));
      if (fetched.ok) return fetched;
      refusal ??= fetched;
      if (!isRefusal(fetched)) break;
    }
    return refusal ?? ABORTED;
  }

  #explain(failure: FetchFailure, what: string, signal: AbortSignal): Failure {
    return explainFailure(failure, { address: this.#address, what, signal });
  }

  #keepAnswer(key: string, result: ResolveResult): void {
    this.#answers.delete(key);
    this.#answers.set(key, { result, untilMs: this.#now() + ANSWER_FRESH_MS });
    const [oldest] = this.#answers.keys();
    if (this.#answers.size > MAX_FRESH_ANSWERS && oldest !== undefined) this.#answers.delete(oldest);
  }
}

/** Of what was seen here, for a service that cannot be asked for its latest. */
function highestRelease(seen: readonly SeenVersion[]): SeenVersion | undefined {
  const releases = seen.filter(({ version }) => semver.valid(version) !== null && semver.prerelease(version) === null);
  return releases.sort((a, b) => semver.compare(a.version, b.version)).at(-1);
}

const ABORTED = { ok: false, kind: 'aborted', details: 'the caller gave up' } as const;

function limited<R>(limiter: Limiter, signal: AbortSignal, work: () => Promise<R>): Promise<R | typeof ABORTED> {
  return limiter.run(signal, work).catch((thrown: unknown) => {
    if (signal.aborted) return ABORTED;
    throw thrown;
  });
}
