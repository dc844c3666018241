/**
 * Where bundles come from, as the engine sees it. Implemented by the gRPC client of the plugin service
 * (engine/plugins) and by a folder served in-process (sdk/registry); both pass one contract suite.
 */
import type { ErrorCode } from './errors.ts';
import type { Manifest } from './manifest.ts';

/** One exact version of a plugin. The digest is what a run pins at START. */
export interface ResolvedPlugin {
  readonly pluginId: string;
  /** `sha256:<64 hex>` of the bundle. */
  readonly digest: string;
  readonly manifest: Manifest;
}

export type ResolveResult =
  | { readonly ok: true; readonly plugin: ResolvedPlugin }
  /** PLUGIN_NOT_FOUND, PLUGIN_INVALID: final. SANDBOX_UNAVAILABLE: the source did not answer, a later try may work. */
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

export interface Bundle {
  readonly digest: string;
  /** The bytes whose SHA-256 was checked against the digest. */
  readonly bytes: Uint8Array;
}

export type BundleResult =
  | { readonly ok: true; readonly bundle: Bundle }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

export interface PluginSource {
  /**
   * @param version exact version, `sha256:…`, or undefined for the latest: the highest release that is not withdrawn.
   * A withdrawn version and a pre-release are had by name and by digest. MUST give a digest whose bytes `bundle()` can
   * give, and that was published as this plugin. MUST NOT throw for anything a plugin service can answer.
   */
  resolve(pluginId: string, version: string | undefined, signal: AbortSignal): Promise<ResolveResult>;
  /** The bytes of a digest that was resolved, also by an earlier process. MUST verify them on every read. */
  bundle(plugin: { pluginId: string; version: string; digest: string }, signal: AbortSignal): Promise<BundleResult>;
  /**
   * Text of the newest .sig file known for a digest that was resolved: bytes can be signed after a run pinned them.
   * Undefined = unsigned. What a `resolve` or this machine's disk has told: a claim, not looked into. MUST NOT throw.
   */
  signature(plugin: { pluginId: string; version: string; digest: string }): Promise<string | undefined>;
  /** The source map of a bundle, only to show errors; undefined when there is none. */
  sourceMap(digest: string): Promise<string | undefined>;
  /**
   * Where the sources lie that this source itself built a bundle from, only to show errors; absent or undefined for
   * bundles that came as they are.
   */
  sourceFolder?(digest: string): string | undefined;
  /** What can be run: for messages that name the nearest plugin. Empty when the source cannot list. */
  names(signal: AbortSignal): Promise<readonly string[]>;
  /** Idempotent. */
  close(): Promise<void>;
}
