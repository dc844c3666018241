/**
 * The settings that an embedded engine and its sandbox host take beside home, plugins and policy: some of the one table
 * (proto/settings.ts), by the same names. They are given, never read from the environment: a program that embeds the
 * engine has a LOG_LEVEL of its own.
 */
import { FlowopsError } from '@flowops/proto/errors.ts';
import { nearestName } from '@flowops/proto/ids.ts';
import { isSettingName, SETTINGS, type SettingName, settingOf } from '@flowops/proto/settings.ts';
import type { Settings } from '@flowops/proto/settings-reader.ts';
import type { StateFormat } from '../store/run-store.ts';

/** The engine itself takes the first three; all go to the sandbox host, which takes what is for it. */
export const ENGINE_SETTING_NAMES = [
  'RUN_RETENTION',
  'STOP_GRACE_MS',
  'STATE_FORMAT',
  'SECRETS_DIR',
  'LOG_LEVEL',
  'SANDBOX_WORKERS',
  'SANDBOX_LEASE_MS',
  'SANDBOX_IMAGE',
  'SANDBOX_CONTAINERS',
  'SANDBOX_CONTAINERS_AHEAD',
  'SANDBOX_WORKER_IMAGE',
  'SANDBOX_WORKER_RUNTIME',
] as const satisfies readonly SettingName[];

export type EngineSettingName = (typeof ENGINE_SETTING_NAMES)[number];
/** Written as in docs/settings.md: `{ RUN_RETENTION: '30d', SANDBOX_WORKERS: 2 }`. */
export type EngineSettings = Readonly<Partial<Record<EngineSettingName, string | number>>>;

/** Of the sandbox host: what a program that embeds it wants to hear. */
const DEFAULT_LOG_LEVEL = 'warn';

export interface ReadEngineSettings {
  readonly retentionMs: number;
  readonly stopGraceMs: number;
  readonly stateFormat: StateFormat;
  /** As text, for the sandbox host. */
  readonly forHost: Readonly<Record<string, string>>;
}

/** @throws FlowopsError CONFIG_INVALID with every problem */
export function readEngineSettings(settings: EngineSettings): ReadEngineSettings {
  const texts: Record<string, string> = {};
  const problems: string[] = [];
  for (const [name, value] of Object.entries(settings)) {
    const problem = isEngineSetting(name) ? problemOf(name, String(value)) : unknownSetting(name);
    if (problem === undefined) texts[name] = String(value);
    else problems.push(problem);
  }
  if (problems.length > 0) throw new FlowopsError('CONFIG_INVALID', problems.join('\n'));
  const { RUN_RETENTION: retention, STOP_GRACE_MS: grace, STATE_FORMAT: format } = SETTINGS;
  return {
    retentionMs: retention.parse.parse(texts.RUN_RETENTION ?? retention.default),
    stopGraceMs: grace.parse.parse(texts.STOP_GRACE_MS ?? grace.default),
    stateFormat: format.parse.parse(texts.STATE_FORMAT ?? format.default),
    forHost: { LOG_LEVEL: DEFAULT_LOG_LEVEL, ...texts },
  };
}

/** Of the settings of a command those that were given, and that an embedded engine takes. */
export function givenSettings({ given }: Pick<Settings, 'given'>): EngineSettings {
  const names = ENGINE_SETTING_NAMES.filter((name) => given[name] !== undefined);
  return Object.fromEntries(names.map((name) => [name, given[name]]));
}

type Environment = Readonly<Record<string, string | undefined>>;

/** What a process needs to run at all, without any setting of ours. */
export function environmentWithoutSettings(env: Environment): Environment {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isSettingName(name)));
}

function isEngineSetting(name: string): name is EngineSettingName {
  return ENGINE_SETTING_NAMES.some((known) => known === name);
}

function problemOf(name: EngineSettingName, text: string): string | undefined {
  const setting = settingOf(name);
  const parsed = setting.parse.safeParse(text);
  if (parsed.success) return undefined;
  const expected = parsed.error.issues[0]?.message ?? setting.kind;
  return `settings.${name} must be ${expected}, not ${JSON.stringify(text)}`;
}

function unknownSetting(name: string): string {
  const near = nearestName(name, ENGINE_SETTING_NAMES);
  return near === undefined
    ? `settings.${name}: an embedded engine takes ${ENGINE_SETTING_NAMES.join(', ')}`
    : `settings.${name}: unknown; did you mean ${near}?`;
}
