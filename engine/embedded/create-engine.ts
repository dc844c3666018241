/**
 * The engine inside a process, without services: SQLite in FLOWOPS_HOME, events in-process, a sandbox host of its own as
 * a child process. `flowops run` is written on this and on nothing else; what else may call it is told in api.ts.
 */
import { accessSync, constants, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { CliParts } from '@flowops/proto/cli.ts';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import type { PluginSource } from '@flowops/proto/plugin-source.ts';
import { isSecretName } from '@flowops/proto/secret-values.ts';
import { runKey } from '@flowops/proto/statuses.ts';
import { startEngine } from '../app.ts';
import type { Log } from '../log.ts';
import { LocalPublisher } from '../publishing/local-publisher.ts';
import { LocalSandboxes } from '../sandbox-client/local-sandboxes.ts';
import type { Sandboxes } from '../sandbox-client/sandboxes.ts';
import { SqliteHistory } from '../store/sqlite-history.ts';
import { STORE_FILE } from '../store/sqlite-schema.ts';
import { openSqliteStore } from '../store/sqlite-store.ts';
import type { EngineOptions, FlowEngine } from './api.ts';
import { asFlowopsError } from './as-flowops-error.ts';
import { environmentWithoutSettings, type ReadEngineSettings, readEngineSettings } from './engine-settings.ts';
import { LocalFlowEngine } from './flow-engine.ts';
import { hostLogLines } from './host-log-lines.ts';
import { openPlugins } from './open-plugins.ts';
import { RunBell } from './run-bell.ts';
import { stepError } from './step-error.ts';
import { textLog } from './text-log.ts';

/** Other than a file with this name, which is written `./developer`. */
const DEVELOPER = 'developer';

/** How many engines this process has made, so that each has a name of its own in its host's log. */
let engines = 0;

/**
 * @param parts what the engine itself cannot do: building plugins from a folder
 * @throws FlowopsError CONFIG_INVALID for what has to be changed (a setting, the policy, the plugin folder, the home),
 *   SANDBOX_UNAVAILABLE for what a later try may find
 */
export async function createEngine(
  options: EngineOptions,
  parts: Pick<CliParts, 'openPluginFolder'>,
): Promise<FlowEngine> {
  const settings = readEngineSettings(options.settings ?? {});
  const log = options.log ?? textLog((text) => process.stderr.write(text));
  const home = prepareHome(options.home);
  try {
    return await open({ options, parts, settings, log, home });
  } catch (thrown) {
    throw asFlowopsError(thrown);
  }
}

/** @throws FlowopsError CONFIG_INVALID: another folder, or other rights, are needed */
function prepareHome(given: string): string {
  const home = resolve(given);
  try {
    mkdirSync(home, { recursive: true, mode: 0o700 });
    accessSync(home, constants.W_OK | constants.X_OK);
    return home;
  } catch (cause) {
    throw new FlowopsError('CONFIG_INVALID', `the home ${home} cannot be used: ${messageOf(cause)}`, { cause });
  }
}

interface Opening {
  readonly options: EngineOptions;
  readonly parts: Pick<CliParts, 'openPluginFolder'>;
  readonly settings: ReadEngineSettings;
  readonly log: Log;
  readonly home: string;
}

async function open({ options, parts, settings, log, home }: Opening): Promise<FlowEngine> {
  // The host's start takes longest: everything else happens meanwhile.
  const sandboxes = LocalSandboxes.start({
    role: 'engine',
    instance: `embedded-${process.pid}-${++engines}`,
    home,
    env: { ...environmentWithoutSettings(process.env), ...settings.forHost },
    log,
    onLog: hostLogLines(log),
    ...policyOf(options.policy),
    ...(options.secrets === undefined ? {} : { secrets: readSecrets(options.secrets) }),
  });
  sandboxes.catch(() => undefined); // awaited below; plugins that fail first must not leave it unhandled
  const made: { engine?: LocalFlowEngine; plugins?: PluginSource } = {};
  try {
    made.plugins = await openPlugins(options.plugins, {
      home,
      openPluginFolder: parts.openPluginFolder,
      sandbox: async () => (await sandboxes).opened(),
      log,
      pinned: async () => made.engine?.pinnedDigests() ?? new Set(),
    });
    made.engine = await joinEngine({ ...options, home, log, settings, plugins: made.plugins, sandboxes });
    return made.engine;
  } catch (thrown) {
    await sandboxes.then((started) => started.close()).catch(() => undefined);
    await made.plugins?.close();
    throw thrown;
  }
}

/** @throws FlowopsError CONFIG_INVALID that names no value */
function readSecrets(secrets: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  const wrong = Object.entries(secrets).find(([name, value]) => !isSecretName(name) || typeof value !== 'string');
  if (wrong === undefined) return new Map(Object.entries(secrets));
  const [name, value] = wrong;
  const problem = isSecretName(name) ? `must be text, not ${typeof value}` : 'is no name of a secret';
  throw new FlowopsError('CONFIG_INVALID', `secrets: ${JSON.stringify(name)} ${problem}`);
}

function policyOf(policy: string | undefined) {
  if (policy === undefined) return {};
  if (policy === DEVELOPER) return { policy: { kind: 'developer' as const } };
  return { policy: { kind: 'file' as const, file: resolve(policy) } };
}

export interface JoinOptions extends Pick<EngineOptions, 'onStepLog' | 'onStepProgress' | 'onStepError'> {
  /** Absolute. */
  readonly home: string;
  readonly log: Log;
  readonly settings: ReadEngineSettings;
  readonly plugins: PluginSource;
  readonly sandboxes: Sandboxes | Promise<Sandboxes>;
}

/** Joins opened parts, with a store of its own in the home. On failure plugins and sandboxes are still the caller's. */
export async function joinEngine(options: JoinOptions): Promise<LocalFlowEngine> {
  const { home, log, settings, plugins, onStepLog, onStepProgress, onStepError } = options;
  const bell = new RunBell();
  const publisher = new LocalPublisher(log);
  publisher.subscribe({ onEvents: (run) => bell.ring(runKey(run)) });
  const file = join(home, STORE_FILE);
  const store = openSqliteStore({ file, format: settings.stateFormat });
  let history: SqliteHistory | undefined;
  try {
    history = new SqliteHistory(file);
    let joined: LocalFlowEngine | undefined;
    const engine = await startEngine({
      ...{ store, publisher, plugins, log },
      sandboxes: await options.sandboxes,
      retentionMs: settings.retentionMs,
      stopGraceMs: settings.stopGraceMs,
      onRunEnded: (run) => joined?.hasEnded(run),
      ...(onStepLog && { onStepLog: (run, stepId, line) => onStepLog({ ...run, stepId, ...line }) }),
      ...(onStepProgress && { onStepProgress: (run, stepId, told) => onStepProgress({ ...run, stepId, ...told }) }),
      ...(onStepError && {
        onStepFailed: (run, stepId, failure) => onStepError(stepError({ run, stepId, failure, plugins })),
      }),
    });
    joined = new LocalFlowEngine({ engine, history, bell, home });
    return joined;
  } catch (thrown) {
    history?.close();
    await store.close();
    throw thrown;
  }
}
