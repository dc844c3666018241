/**
 * Writes the reference pages that are made from tables in the code: docs/settings.md from the settings, docs/errors.md
 * from the error codes (`npm run docs`). A test fails when a page is not what this would write.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { exitCodeOf } from '@flowops/proto/cli.ts';
import { ERROR_ADVICE } from '@flowops/proto/error-advice.ts';
import { ERROR_CODES, type ErrorCode, type ErrorCodeInfo, isErrorCode } from '@flowops/proto/errors.ts';
import { SETTING_NAMES, type SettingName, settingOf } from '@flowops/proto/settings.ts';

const MADE_BY = '<!-- Made by `npm run docs` from the table in the code; edit that. -->';

const ERROR_NAMES = Object.keys(ERROR_CODES).filter(isErrorCode);
const SECRET_NOTE = { value: ' Never shown.', password: ' A password in it is never shown.' } as const;

/** Every page, by its path from the root. */
export function referencePages(): Readonly<Record<string, string>> {
  return { 'docs/settings.md': settingsPage(), 'docs/errors.md': errorsPage() };
}

function settingsPage(): string {
  const available = SETTING_NAMES.filter((name) => !isWhollyUnavailable(name));
  const later = SETTING_NAMES.filter(isWhollyUnavailable);
  return `${MADE_BY}
# Settings

A setting is read from a flag of the command, else from the environment, else from the file that \`--config FILE\` names
(YAML, the same names), else it has its default. \`flowops config\` prints each one in force and where it came from.

- \`NAME_FILE\` reads the value of \`NAME\` from a file, for mounted secrets: \`REDIS_URL_FILE=/run/secrets/redis-url\`.
- An empty variable counts as not set.
- An unknown key of the file is an error, and so is an environment variable that begins with \`FLOWOPS_\` or is within two
  letters of a name below, except names that end in \`_SERVICE_HOST\` or hold \`_PORT\`, which Kubernetes sets.
- Everything wrong is told at once, and the command ends with exit code 2.
- A duration has a unit: \`500ms\`, \`30s\`, \`5m\`, \`2h\`, \`7d\`. Where milliseconds are asked for, a plain number is taken too.

| name | value | default | used by | what it is for |
|---|---|---|---|---|
${available.map(settingRow).join('\n')}

## Not in this release

These names are reserved. Setting one is an error, because nothing would act on it.

| name | value | default | used by | what it is for |
|---|---|---|---|---|
${later.map(settingRow).join('\n')}
`;
}

function settingRow(name: SettingName): string {
  const setting = settingOf(name);
  const unset = setting.whenUnset === undefined ? '' : `(${setting.whenUnset})`;
  const fallback = setting.default === undefined ? unset : `\`${setting.default}\``;
  const secret = setting.secret === undefined ? '' : SECRET_NOTE[setting.secret];
  const only = setting.unavailable?.except;
  const limit = only === undefined ? '' : ` In this release only \`${only.join('`, `')}\` can be set.`;
  return `| \`${name}\` | ${setting.kind} | ${fallback} | ${setting.usedBy.join(', ')} | ${setting.about}${secret}${limit} |`;
}

function isWhollyUnavailable(name: SettingName): boolean {
  const { unavailable } = settingOf(name);
  return unavailable !== undefined && unavailable.except === undefined;
}

function errorsPage(): string {
  const rows = Object.entries<ErrorCodeInfo>(ERROR_CODES).map(([code, { fault, retryable, meaning }]) => {
    const exit = isErrorCode(code) ? exitCodeOf(code) : '';
    return `| \`${code}\` | ${meaning} | ${fault} | ${retryable ? 'yes' : 'no'} | ${exit} |`;
  });
  return `${MADE_BY}
# Error codes

Every failure has one of these codes: in a status event, in the outcome of a command, in what a command prints. The text
beside it is for people and may change; the code does not.

Fault says who has to act: the plugin's author, whoever set the limit or the policy, whoever runs the machines, or who
made the request. Retry says whether the same thing may work when it is tried again unchanged. Exit is the exit code of a
command that ends with it.

| code | meaning | fault | retry | exit |
|---|---|---|---|---|
${rows.join('\n')}

## What to do

By code: what may be behind it, told apart by the message or the receipt, and what to do about it. A failed step's message,
log and receipt are in its step event, in \`flowops run --json\` and in \`flowops sandbox run\`.

${ERROR_NAMES.map(adviceSection).join('\n\n')}
`;
}

function adviceSection(code: ErrorCode): string {
  const rows = ERROR_ADVICE[code].map(({ cause, action }) => `| ${cause} | ${action} |`);
  return `### ${code}\n\n| cause | what to do |\n|---|---|\n${rows.join('\n')}`;
}

if (import.meta.main) {
  const root = fileURLToPath(new URL('..', import.meta.url));
  mkdirSync(`${root}docs`, { recursive: true });
  for (const [path, text] of Object.entries(referencePages())) writeFileSync(`${root}${path}`, text);
}
