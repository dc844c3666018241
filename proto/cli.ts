/**
 * How the `cli/` folders of the parts and the root bin meet. The bin makes one CliParts and hands it to each
 * register function; what one part needs of another (the engine: the plugin folder of the sdk) goes through it, so
 * that no part imports a neighbour.
 *
 * An action that fails throws a FlowopsError: the bin prints it (one line of JSON under `--json`) and takes the exit
 * code from the error's code. An action that did its work, but whose flow or plugin failed, sets process.exitCode.
 */
import type { SandboxHost } from './attempt.ts';
import { type ErrorCode, errorInfo } from './errors.ts';
import type { PluginSource } from './plugin-source.ts';
import type { Settings, SettingsInput } from './settings-reader.ts';

export interface CliParts {
  /** The folder of `--plugins DIR` and PLUGIN_DIR: sources, bundles or a registry folder, served in-process. */
  openPluginFolder(dir: string, options: PluginFolderOptions): Promise<PluginSource>;
  /** Settings under the flags of this command and `--config`. Throws CONFIG_INVALID with every problem. */
  settings(flags?: SettingsInput['flags']): Promise<Settings>;
  /** The packed `@flowops/sdk` that a new plugin depends on: lies in the package, is made from the sources in a clone. */
  packedSdk(): Promise<PackedSdk>;
  /** The version in the root package.json. */
  readonly version: string;
}

export interface PackedSdk {
  /** A `.tgz` that npm installs; copied, not kept: the next call may write it anew. */
  readonly file: string;
  readonly version: string;
}

export interface PluginFolderOptions {
  /** `<FLOWOPS_HOME>/cache`: builds, and the bundles that runs began with. */
  readonly cacheDir: string;
  /** Where a source is evaluated for its manifest; asked for only when something has to be built. */
  readonly sandbox: () => Promise<
    | { readonly ok: true; readonly host: SandboxHost }
    | { readonly ok: false; readonly code: ErrorCode; readonly message: string }
  >;
  /** Digests pinned by runs that are not final; kept whatever the cache's cap says. */
  readonly pinned?: () => Promise<ReadonlySet<string>>;
  readonly log?: (message: string) => void;
}

/** Exit codes of every command. */
export const EXIT = {
  done: 0,
  /** The flow or the plugin failed or is invalid. */
  failed: 1,
  /** Wrong use or configuration. */
  usage: 2,
  /** Infrastructure: a later try may work. */
  infrastructure: 3,
  /** Stopped by Ctrl-C. */
  interrupted: 130,
} as const;

/** The exit code of a command that ended with this error. */
export function exitCodeOf(code: ErrorCode): number {
  switch (code) {
    case 'CANCELLED':
      return EXIT.interrupted;
    case 'USAGE_INVALID':
    case 'CONFIG_INVALID':
    case 'COMMAND_INVALID':
    case 'RUN_UNKNOWN':
    case 'RUN_EXISTS':
    case 'RUN_FINAL':
      return EXIT.usage;
    default:
      return errorInfo(code).fault === 'infrastructure' ? EXIT.infrastructure : EXIT.failed;
  }
}
