/**
 * Reads all settings once: flag over environment over `--config FILE` over default. The result is frozen.
 *
 * A wrong value, an unknown key of the file, an environment variable that is nearly one of ours, a file that cannot be
 * read: all of them are collected and told together, each with the name and what it should be. The value of a secret
 * is never part of a message. `NAME_FILE` reads the value of NAME from a file, in the environment and in the file.
 */
import { readFileSync, statSync } from 'node:fs';
import { FlowopsError, messageOf } from './errors.ts';
import { editDistance, nearestName } from './ids.ts';
import type { Setting } from './setting.ts';
import { isSettingName, SETTING_NAMES, type SettingName, type SettingValues, settingOf } from './settings.ts';
import { readSettingsFile } from './settings-file.ts';
import { formatDuration } from './settings-parsers.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where a value came from. `detail` is the file, or the variable where it is not the setting's own name. */
export interface SettingSource {
  readonly from: 'flag' | 'environment' | 'file' | 'default';
  readonly detail?: string;
}

export interface Settings {
  readonly values: SettingValues;
  readonly sources: Readonly<Record<SettingName, SettingSource>>;
  /** What was given, as text and wherever from: the environment of a child process that is to have the same settings. */
  readonly given: Readonly<Partial<Record<SettingName, string>>>;
}

export interface SettingsInput {
  /** Values of command line flags, as text, under the setting's name. */
  readonly flags?: Readonly<Partial<Record<SettingName, string | undefined>>>;
  readonly env: Environment;
  /** The argument of `--config`. */
  readonly file?: string | undefined;
}

export type ReadSettings =
  | { readonly ok: true; readonly settings: Settings }
  | { readonly ok: false; readonly problems: readonly string[] };

/** A text that was given for a setting, before it is parsed. */
interface Given {
  readonly text: string;
  readonly source: SettingSource;
}

/** Far above any certificate chain; a mistaken path to something huge is refused instead of read. */
const VALUE_FILE_MAX_BYTES = 256 * 1024;

/** Two edits: a missing letter, a swapped pair, a plural. More would catch names that are not ours. */
const TYPO_MAX_EDITS = 2;

/** Names within two edits of ours that other programs commonly set; they are no typing mistakes. */
export const COMMON_VARIABLES: ReadonlySet<string> = new Set([
  'DATE_FORMAT',
  'FTP_HOST',
  'HTTPD_HOST',
  'HTTPS_HOST',
  'HTTP_ROOT',
  'LOGLEVEL',
  'LOG_SCOPE',
  'LOG_STATE',
  'LOG_STYLE',
  'NNTP_HOST',
  'NTP_HOST',
  'REDIS_ACL',
  'REDIS_SSL',
  'REDIS_TTL',
  'SFTP_HOST',
  'SMTP_HOST',
]);

const KNOWN_VARIABLES: readonly string[] = SETTING_NAMES.flatMap((name) => [name, `${name}_FILE`]);

export async function readSettings(input: SettingsInput): Promise<ReadSettings> {
  const problems: string[] = [];
  const given = new Map<SettingName, Given>();
  // Lowest first: a later layer replaces what an earlier one gave.
  if (input.file !== undefined) await addFile(input.file, given, problems);
  addEnvironment(input.env, given, problems);
  addFlags(input.flags ?? {}, given);

  const values: Partial<Record<SettingName, unknown>> = {};
  const sources: Partial<Record<SettingName, SettingSource>> = {};
  for (const name of SETTING_NAMES) {
    const setting = settingOf(name);
    const found = given.get(name) ?? defaultOf(setting);
    sources[name] = Object.freeze(found?.source ?? { from: 'default' });
    values[name] = found === undefined ? undefined : parseValue(name, setting, found, problems);
  }
  if (problems.length > 0) return { ok: false, problems };
  // Each value was made by the parser that the type is derived from, and no name was left out.
  const texts = Object.freeze(Object.fromEntries([...given].map(([name, { text }]) => [name, text])));
  const settings = { values: Object.freeze(values), sources: Object.freeze(sources), given: texts } as Settings;
  return { ok: true, settings: Object.freeze(settings) };
}

/** As readSettings; throws CONFIG_INVALID with every problem, one a line, when there is any. */
export async function requireSettings(input: SettingsInput): Promise<Settings> {
  const read = await readSettings(input);
  if (read.ok) return read.settings;
  throw new FlowopsError('CONFIG_INVALID', read.problems.join('\n'));
}

/** One setting in force, for people and for the log: secrets are hidden. */
export interface SettingDescription {
  readonly name: SettingName;
  /** As a person would type it; null when it is not set. */
  readonly value: string | null;
  readonly source: SettingSource['from'];
  /** The variable or file behind the source, or what "not set" means. */
  readonly detail?: string;
}

export function describeSettings(settings: Settings): readonly SettingDescription[] {
  return SETTING_NAMES.map((name) => {
    const setting = settingOf(name);
    const source = settings.sources[name];
    const value = settings.values[name];
    const unset = value === undefined ? setting.whenUnset : undefined;
    const missing = isUnavailable(setting, value) ? 'not available in this release' : undefined;
    const detail = source.detail ?? unset ?? missing;
    return {
      name,
      value: value === undefined ? null : shownValue(setting, value),
      source: source.from,
      ...(detail === undefined ? {} : { detail }),
    };
  });
}

function addFlags(flags: NonNullable<SettingsInput['flags']>, given: Map<SettingName, Given>): void {
  for (const name of SETTING_NAMES) {
    const text = flags[name];
    if (text !== undefined) given.set(name, { text, source: { from: 'flag' } });
  }
}

function addEnvironment(env: Environment, given: Map<SettingName, Given>, problems: string[]): void {
  for (const name of SETTING_NAMES) {
    const text = nonEmpty(env[name]);
    const path = nonEmpty(env[`${name}_FILE`]);
    if (text !== undefined && path !== undefined) {
      problems.push(`${name} and ${name}_FILE are both set in the environment; unset one of them`);
    } else if (path !== undefined) {
      const source: SettingSource = { from: 'environment', detail: `${name}_FILE=${path}` };
      readValueFile(`${name}_FILE`, name, path, source, { given, problems });
    } else if (text !== undefined) {
      given.set(name, { text, source: { from: 'environment' } });
    }
  }
  for (const variable of Object.keys(env)) {
    const problem = problemOfVariable(variable);
    if (problem !== undefined) problems.push(problem);
  }
}

async function addFile(path: string, given: Map<SettingName, Given>, problems: string[]): Promise<void> {
  const file = await readSettingsFile(path);
  problems.push(...file.problems);
  const keys = new Set(file.entries.map((entry) => entry.key));
  for (const { key, text, place } of file.entries) {
    const name = nameOfKey(key);
    if (name === undefined) {
      problems.push(`${place}: unknown setting ${key}${suggestion(key)}`);
    } else if (name !== key && keys.has(name)) {
      problems.push(`${place}: ${name} and ${key} are both set; remove one of them`);
    } else if (name === key) {
      given.set(name, { text, source: { from: 'file', detail: place } });
    } else {
      const source: SettingSource = { from: 'file', detail: `${place}, ${key}=${text}` };
      readValueFile(`${place}: ${key}`, name, text, source, { given, problems });
    }
  }
}

/** NAME or NAME_FILE as NAME. */
function nameOfKey(key: string): SettingName | undefined {
  if (isSettingName(key)) return key;
  const stem = key.endsWith('_FILE') ? key.slice(0, -'_FILE'.length) : '';
  return isSettingName(stem) ? stem : undefined;
}

function readValueFile(
  what: string,
  name: SettingName,
  path: string,
  source: SettingSource,
  into: { given: Map<SettingName, Given>; problems: string[] },
): void {
  try {
    const bytes = statSync(path).size;
    if (bytes > VALUE_FILE_MAX_BYTES) {
      into.problems.push(`${what}: ${path} has ${bytes} bytes; at most ${VALUE_FILE_MAX_BYTES} are read`);
      return;
    }
    // Editors and `echo` end a file with a line break that is no part of the value.
    const text = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
    if (text === '') into.problems.push(`${what}: ${path} is empty`);
    else into.given.set(name, { text, source });
  } catch (thrown) {
    into.problems.push(`${what}: ${path} cannot be read (${reasonOf(thrown)})`);
  }
}

/** What is wrong with a variable that is not one of ours, if anything. */
function problemOfVariable(variable: string): string | undefined {
  if (nameOfKey(variable) !== undefined || COMMON_VARIABLES.has(variable)) return undefined;
  // Kubernetes sets these for every service of the namespace.
  if (variable.endsWith('_SERVICE_HOST') || variable.includes('_PORT')) return undefined;
  if (variable.startsWith('FLOWOPS_')) {
    return `unknown environment variable ${variable}${suggestion(variable)}`;
  }
  const near = KNOWN_VARIABLES.filter(
    (known) => mayBeNear(known, variable) && editDistance(known, variable) <= TYPO_MAX_EDITS,
  );
  return near.length === 0 ? undefined : `unknown environment variable ${variable}${suggestion(variable, near)}`;
}

/**
 * Whether two words can be within TYPO_MAX_EDITS at all: an edit changes the length by one at most, and the letters by
 * one that goes and one that comes. Without this the comparison was the largest single cost of a cold start.
 */
function mayBeNear(known: string, variable: string): boolean {
  if (Math.abs(known.length - variable.length) > TYPO_MAX_EDITS) return false;
  const left = new Map<string, number>();
  for (const letter of known) left.set(letter, (left.get(letter) ?? 0) + 1);
  let unmatched = 0;
  for (const letter of variable) {
    const count = left.get(letter) ?? 0;
    if (count === 0) unmatched += 1;
    else left.set(letter, count - 1);
    if (unmatched > TYPO_MAX_EDITS) return false;
  }
  return true;
}

function suggestion(word: string, candidates: readonly string[] = KNOWN_VARIABLES): string {
  const nearest = nearestName(word, candidates);
  return nearest === undefined ? '; see docs/settings.md for the names' : `; did you mean ${nearest}?`;
}

function defaultOf(setting: Setting): Given | undefined {
  return setting.default === undefined ? undefined : { text: setting.default, source: { from: 'default' } };
}

function parseValue(name: SettingName, setting: Setting, found: Given, problems: string[]): unknown {
  const { text, source } = found;
  const parsed = setting.parse.safeParse(text);
  const where = source.from === 'default' ? 'default' : (source.detail ?? source.from);
  if (!parsed.success) {
    const expected = parsed.error.issues[0]?.message ?? setting.kind;
    const shown = setting.secret === undefined ? `, not ${JSON.stringify(text)}` : '';
    problems.push(`${name} (${where}) must be ${expected}${shown}`);
    return undefined;
  }
  if (source.from !== 'default' && isUnavailable(setting, text)) {
    problems.push(unavailableProblem(name, setting, text, where));
  }
  return parsed.data;
}

function unavailableProblem(name: SettingName, setting: Setting, text: string, where: string): string {
  const { feature, except } = setting.unavailable ?? { feature: 'this' };
  const given = except === undefined ? name : `${name}=${text}`;
  const wayOut = except === undefined ? 'unset it' : `use ${except.join(' or ')}`;
  return `${given} (${where}) is not available in this release (no ${feature} yet); ${wayOut}`;
}

function isUnavailable(setting: Setting, value: unknown): boolean {
  if (setting.unavailable === undefined || value === undefined) return false;
  return !(setting.unavailable.except ?? []).some((allowed) => allowed === value);
}

function shownValue(setting: Setting, value: unknown): string {
  if (setting.secret === 'value') return '***';
  if (setting.kind === 'duration' && typeof value === 'number') return formatDuration(value);
  const text = Array.isArray(value) ? value.join(',') : String(value);
  // A password may itself hold `@`, `/` or a comma: hide up to the last `@`, even where that hides a host too.
  return setting.secret === 'password' ? text.replace(/\/\/.*@/s, '//***@').replace(/\?.*$/s, '?***') : text;
}

/** An empty variable is as good as none: compose files and charts write `NAME=` for "not set". */
function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : text;
}

function reasonOf(thrown: unknown): string {
  if (thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string') return thrown.code;
  return messageOf(thrown);
}
