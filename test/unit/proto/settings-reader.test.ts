import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isSettingName, SETTING_NAMES } from '@flowops/proto/settings.ts';
import {
  COMMON_VARIABLES,
  describeSettings,
  type Environment,
  readSettings,
  requireSettings,
  type Settings,
  type SettingsInput,
} from '@flowops/proto/settings-reader.ts';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'flowops-settings-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function writeFile(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

async function settingsOf(input: Partial<SettingsInput>): Promise<Settings> {
  const read = await readSettings({ env: {}, ...input });
  if (!read.ok) throw new Error(read.problems.join('\n'));
  return read.settings;
}

async function problemsOf(input: Partial<SettingsInput>): Promise<readonly string[]> {
  const read = await readSettings({ env: {}, ...input });
  return read.ok ? [] : read.problems;
}

const problemsOfEnv = (env: Environment) => problemsOf({ env });

describe('without anything set', () => {
  it('every setting has its default', async () => {
    const { values, sources } = await settingsOf({});
    expect(values).toMatchObject({
      KAFKA_GROUP_ID: 'execution-engine',
      KAFKA_COMMANDS_TOPIC: 'execution.commands',
      KAFKA_STATUS_TOPIC: 'execution.status',
      KAFKA_OUTCOMES_TOPIC: 'execution.outcomes',
      KAFKA_DLQ_TOPIC: 'execution.commands.dlq',
      KAFKA_STATUS_ENCODING: 'object',
      KAFKA_PUBLISH_FENCE: 'heartbeat',
      FLOWOPS_HOME: './.flowops',
      SANDBOX_LEASE_MS: 15_000,
      HTTP_HOST: '127.0.0.1',
      HTTP_PORT: 8080,
      RUN_RETENTION: 7 * 86_400_000,
      STOP_GRACE_MS: 2_000,
      DRAIN_MS: 30_000,
      LOG_STORE: 'store',
      LOG_LEVEL: 'info',
    });
    expect(values.KAFKA_BROKERS).toBeUndefined();
    expect(new Set(SETTING_NAMES.map((name) => sources[name].from))).toEqual(new Set(['default']));
  });

  it('the result cannot be changed', async () => {
    const settings = await settingsOf({ env: { KAFKA_BROKERS: 'a:1,b:2' } });
    expect(Object.isFrozen(settings)).toBe(true);
    expect(Object.isFrozen(settings.values)).toBe(true);
    expect(Object.isFrozen(settings.sources)).toBe(true);
    expect(Object.isFrozen(settings.values.KAFKA_BROKERS)).toBe(true);
  });
});

describe('where a value comes from', () => {
  it('a flag wins over the environment, the environment over the file, the file over the default', async () => {
    const file = writeFile('order.yaml', 'HTTP_PORT: 1\nHTTP_HOST: file\nDRAIN_MS: 5\n');
    const { values, sources } = await settingsOf({
      flags: { HTTP_PORT: '3', HTTP_HOST: undefined },
      env: { HTTP_PORT: '2', HTTP_HOST: 'environment' },
      file,
    });
    expect(values).toMatchObject({ HTTP_PORT: 3, HTTP_HOST: 'environment', DRAIN_MS: 5, STOP_GRACE_MS: 2_000 });
    expect(sources).toMatchObject({
      HTTP_PORT: { from: 'flag' },
      HTTP_HOST: { from: 'environment' },
      DRAIN_MS: { from: 'file', detail: `${file}:3` },
      STOP_GRACE_MS: { from: 'default' },
    });
  });

  it('NAME_FILE reads the value from a file, without the line break at its end', async () => {
    const secret = writeFile('redis-url', 'redis://user:pass@r:6379\n');
    const { values, sources } = await settingsOf({ env: { REDIS_URL_FILE: secret } });
    expect(values.REDIS_URL).toBe('redis://user:pass@r:6379');
    expect(sources.REDIS_URL).toEqual({ from: 'environment', detail: `REDIS_URL_FILE=${secret}` });
  });

  it('NAME_FILE works in the settings file too', async () => {
    const secret = writeFile('redis-url-2', 'redis://r:6379');
    const file = writeFile('secret.yaml', `REDIS_URL_FILE: ${secret}\n`);
    expect((await settingsOf({ file })).values.REDIS_URL).toBe('redis://r:6379');
  });

  it('NAME and NAME_FILE together are refused, in the environment and in the file', async () => {
    const env = { REDIS_URL: 'redis://a', REDIS_URL_FILE: '/x' };
    expect(await problemsOfEnv(env)).toEqual([expect.stringMatching(/REDIS_URL and REDIS_URL_FILE are both set/)]);
    const file = writeFile('both.yaml', 'REDIS_URL: redis://a\nREDIS_URL_FILE: /x\n');
    expect(await problemsOf({ file })).toEqual([
      expect.stringMatching(/:2: REDIS_URL and REDIS_URL_FILE are both set/),
    ]);
  });

  it('a value file that is missing, empty or huge is named', async () => {
    const env = {
      KAFKA_GROUP_ID_FILE: join(folder, 'missing'),
      HTTP_HOST_FILE: writeFile('empty', '\n'),
      REDIS_URL_FILE: writeFile('huge', 'x'.repeat(300_000)),
    };
    const problems = await problemsOfEnv(env);
    expect(problems).toHaveLength(3);
    expect(problems.join('\n')).toMatch(/KAFKA_GROUP_ID_FILE: .*missing cannot be read \(ENOENT\)/);
    expect(problems.join('\n')).toMatch(/HTTP_HOST_FILE: .*empty is empty/);
    expect(problems.join('\n')).toMatch(/REDIS_URL_FILE: .*huge has 300000 bytes/);
  });

  it('what was given reads the same when a child process has it as its environment', async () => {
    const file = writeFile('child.yaml', 'SANDBOX_WORKERS: 3\nKAFKA_BROKERS: [a:1, b:2]\n');
    const secret = writeFile('child-redis', 'redis://r:6379\n');
    const settings = await settingsOf({ file, env: { REDIS_URL_FILE: secret }, flags: { DRAIN_MS: '1s' } });
    const { REDIS_URL, ...shown } = settings.given;
    expect(shown).toEqual({ SANDBOX_WORKERS: '3', KAFKA_BROKERS: 'a:1,b:2', DRAIN_MS: '1s' });
    expect((await settingsOf({ env: settings.given })).values).toEqual(settings.values);
  });

  it('an empty variable counts as not set', async () => {
    const { values, sources } = await settingsOf({ env: { HTTP_PORT: '', REDIS_URL_FILE: '' } });
    expect(values.HTTP_PORT).toBe(8080);
    expect(sources.HTTP_PORT.from).toBe('default');
  });
});

describe('the settings file', () => {
  it('takes text, numbers, booleans and lists; null and an empty file set nothing', async () => {
    const file = writeFile(
      'kinds.yaml',
      'KAFKA_BROKERS: [a:1, "b:2"]\nREDIS_ALLOW_UNSAFE: true\nHTTP_PORT: 0\nLOG_LEVEL:\n',
    );
    const { values } = await settingsOf({ file });
    expect(values).toMatchObject({
      KAFKA_BROKERS: ['a:1', 'b:2'],
      REDIS_ALLOW_UNSAFE: true,
      HTTP_PORT: 0,
      LOG_LEVEL: 'info',
    });
    expect((await settingsOf({ file: writeFile('none.yaml', '# nothing\n') })).values.HTTP_PORT).toBe(8080);
  });

  it('an unknown key is an error with its line and the nearest name', async () => {
    const file = writeFile('unknown.yaml', 'HTTP_PORT: 1\nKAFKA_BROKER: a:1\nSOMETHING_ELSE: 1\n');
    expect(await problemsOf({ file })).toEqual([
      `${file}:2: unknown setting KAFKA_BROKER; did you mean KAFKA_BROKERS?`,
      `${file}:3: unknown setting SOMETHING_ELSE; see docs/settings.md for the names`,
    ]);
  });

  it.each([
    ['is missing', undefined, /cannot be read/],
    ['is no YAML', 'a: [1', /bad\.yaml:\d+: /],
    ['is a list', '- a\n', /must be a mapping/],
    ['has a key twice', 'HTTP_PORT: 1\nHTTP_PORT: 2\n', /bad\.yaml:2: .*unique/],
    ['nests', 'HTTP_PORT: { a: 1 }\n', /bad\.yaml:1: HTTP_PORT must be text, a number/],
    ['has a list of lists', 'KAFKA_BROKERS: [[a]]\n', /bad\.yaml:1: KAFKA_BROKERS must be text, a number/],
    ['has an empty list', 'KAFKA_BROKERS: []\n', /bad\.yaml:1: KAFKA_BROKERS must be text, a number/],
  ])('that %s is named with what is wrong', async (_title, text, message) => {
    const file = text === undefined ? join(folder, 'absent.yaml') : writeFile('bad.yaml', text);
    const problems = await problemsOf({ file });
    expect(problems.join('\n')).toMatch(message);
  });
});

describe('a variable that is nearly a setting', () => {
  it.each([
    ['KAFKA_BROKER', 'KAFKA_BROKERS'],
    ['REDIS_URI', 'REDIS_URL'],
    ['SANDBOX_WORKER', 'SANDBOX_WORKERS'],
    ['HTTP_HOTS', 'HTTP_HOST'],
    ['LOG_LEVLE', 'LOG_LEVEL'],
    ['FLOWOPS_HOMES', 'FLOWOPS_HOME'],
    ['REDIS_URI_FILE', 'REDIS_URL_FILE'],
  ])('%s is an error that names %s', async (variable, nearest) => {
    expect(await problemsOfEnv({ [variable]: 'x' })).toEqual([
      `unknown environment variable ${variable}; did you mean ${nearest}?`,
    ]);
  });

  it('that begins with FLOWOPS_ is an error however far it is from a name', async () => {
    expect(await problemsOfEnv({ FLOWOPS_COMPLETELY_ELSE: 'x' })).toEqual([
      'unknown environment variable FLOWOPS_COMPLETELY_ELSE; see docs/settings.md for the names',
    ]);
  });

  it('is found whatever the two letters are that differ', async () => {
    const edit = fc.record({
      at: fc.nat({ max: 30 }),
      kind: fc.constantFrom('insert', 'delete', 'replace'),
      letter: fc.constantFrom(...'ABCXYZ_'),
    });
    const mistyped = fc.tuple(fc.constantFrom(...SETTING_NAMES), fc.array(edit, { minLength: 1, maxLength: 2 }));
    await fc.assert(
      fc.asyncProperty(mistyped, async ([name, edits]) => {
        const typed = edits.reduce((word, { at, kind, letter }) => {
          const index = at % word.length;
          const rest = kind === 'insert' ? word.slice(index) : word.slice(index + 1);
          return `${word.slice(0, index)}${kind === 'delete' ? '' : letter}${rest}`;
        }, name as string);
        fc.pre(!/_PORT|_SERVICE_HOST$/.test(typed) && !COMMON_VARIABLES.has(typed));
        fc.pre(!isSettingName(typed) && !isSettingName(typed.replace(/_FILE$/, '')));
        expect((await problemsOfEnv({ [typed]: 'x' })).join()).toContain(`unknown environment variable ${typed}`);
      }),
      { numRuns: 1000 },
    );
  });

  it('is passed over when Kubernetes sets it for a service', async () => {
    const env = {
      FLOWOPS_SERVICE_HOST: '10.0.0.1',
      FLOWOPS_SERVICE_PORT: '80',
      FLOWOPS_PORT: 'tcp://10.0.0.1:80',
      FLOWOPS_PORT_80_TCP_ADDR: '10.0.0.1',
      HTTPS_PORT: '443',
      HTTP_PORTS: '80',
      REDIS_SERVICE_HOST: '10.0.0.2',
    };
    expect(await problemsOfEnv(env)).toEqual([]);
  });

  it('is passed over when it is a common name of other programs', async () => {
    const names = [
      'HOME',
      'HTTP_PROXY',
      'HTTPS_PROXY',
      'LOGLEVEL',
      'SMTP_HOST',
      'FTP_HOST',
      'DATE_FORMAT',
      'REDIS_SSL',
    ];
    const more = [
      'PATH',
      'LANG',
      'HOSTNAME',
      'KAFKA_HOME',
      'REDIS_HOST',
      'REDIS_DB',
      'NODE_ENV',
      'http_proxy',
      'LOG_FILE',
    ];
    const env = Object.fromEntries([...names, ...more].map((name) => [name, 'x']));
    expect(await problemsOfEnv(env)).toEqual([]);
  });
});

describe('a value', () => {
  it.each([
    ['KAFKA_BROKERS', 'kafka', 'host:port'],
    ['KAFKA_BROKERS', 'a:1,b', 'host:port'],
    ['KAFKA_BROKERS', 'a:70000', 'host:port'],
    ['KAFKA_STATUS_TOPIC', 'a topic', 'a Kafka topic name'],
    ['KAFKA_STATUS_ENCODING', 'json', 'one of object, string'],
    ['PLUGIN_SERVICE_ADDRESS', 'http://x:1', 'host:port'],
    ['HTTP_PORT', 'eighty', 'a whole number from 0 to 65535'],
    ['HTTP_PORT', '70000', 'a whole number from 0 to 65535'],
    ['HTTP_PORT', '80.5', 'a whole number from 0 to 65535'],
    ['SANDBOX_WORKERS', '0', 'a whole number from 1 to 256'],
    ['RUN_RETENTION', '7', 'a duration with its unit'],
    ['RUN_RETENTION', '-7d', 'a duration with its unit'],
    ['RUN_RETENTION', '1e3s', 'a duration with its unit'],
    ['DRAIN_MS', '2d', 'milliseconds'],
    ['REDIS_ALLOW_UNSAFE', 'maybe', 'true or false'],
    ['LOG_LEVEL', 'verbose', 'one of trace, debug, info'],
    ['STATE_FORMAT', '3', 'a whole number from 1 to 2'],
  ])('%s=%s is refused, with what it must be', async (name, value, expected) => {
    const problems = await problemsOfEnv({ [name]: value });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(`${name} (environment) must be ${expected}`);
    expect(problems[0]).toContain(`not "${value}"`);
  });

  it.each([
    ['RUN_RETENTION', '30s', 30_000],
    ['RUN_RETENTION', '12h', 43_200_000],
    ['DRAIN_MS', '500', 500],
    ['DRAIN_MS', '5m', 300_000],
    ['STOP_GRACE_MS', '0', 0],
    ['REDIS_ALLOW_UNSAFE', 'TRUE', true],
    ['REDIS_ALLOW_UNSAFE', '0', false],
    ['PLUGIN_SERVICE_ADDRESS', '[::1]:9091', '[::1]:9091'],
    ['REDIS_URL', 'rediss://u:p@a:6379,b:6379/0', 'rediss://u:p@a:6379,b:6379/0'],
  ] as const)('%s=%s is read as %s', async (name, value, expected) => {
    expect((await settingsOf({ env: { [name]: value } })).values[name]).toBe(expected);
  });

  it('that is a secret is never repeated in a message', async () => {
    const problems = await problemsOfEnv({ REDIS_URL: 'http://user:hunter2@host' });
    expect(problems).toHaveLength(1);
    expect(problems[0]).not.toContain('hunter2');
  });

  it('all problems are told at once', async () => {
    const file = writeFile('many.yaml', 'HTTP_POTR: 1\nDRAIN_MS: soon\n');
    const problems = await problemsOf({ env: { KAFKA_BROKER: 'a:1', HTTP_PORT: 'x' }, file });
    expect(problems).toHaveLength(4);
    await expect(requireSettings({ env: { KAFKA_BROKER: 'a:1', HTTP_PORT: 'x' }, file })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: problems.join('\n'),
    });
  });
});

describe('a setting of something that this release lacks', () => {
  it.each([
    ['FLOWOPS_SERVER', 'http://127.0.0.1:8080'],
    ['FLOWOPS_TOKEN', 'letters'],
  ])('%s is refused by name', async (name, value) => {
    const problems = await problemsOfEnv({ [name]: value });
    expect(problems).toEqual([expect.stringMatching(new RegExp(`^${name} .*not available in this release.*unset it`))]);
  });

  it('is refused only for the values that would do nothing', async () => {
    expect(await problemsOfEnv({ LOG_STORE: 'none' })).toEqual([]);
    const problems = await problemsOfEnv({ LOG_STORE: 'store' });
    expect(problems).toEqual([expect.stringMatching(/LOG_STORE=store .*use none/)]);
  });

  it('has a wrong value told as wrong first', async () => {
    expect(await problemsOfEnv({ FLOWOPS_SERVER: 'ftp://x' })).toEqual([expect.stringContaining('must be an http://')]);
  });
});

describe('the address of a sandbox host', () => {
  it('is a unix socket or TLS, or several', async () => {
    expect(await problemsOfEnv({ SANDBOX_URL: 'unix:/run/a.sock,tls://h:7000' })).toEqual([]);
    expect(await problemsOfEnv({ SANDBOX_LISTEN: 'http://x' })).toEqual([
      expect.stringContaining('must be unix:/path'),
    ]);
  });
});

describe('the description for people', () => {
  it('tells each setting once, with its value and source, and hides secrets', async () => {
    const settings = await settingsOf({
      env: { REDIS_URL: 'redis://user:hunter2@r:6379/0', KAFKA_BROKERS: 'a:1,b:2' },
    });
    const described = describeSettings(settings);
    expect(described.map(({ name }) => name)).toEqual(SETTING_NAMES);
    const byName = Object.fromEntries(described.map((line) => [line.name, line]));
    expect(byName.REDIS_URL).toMatchObject({ value: 'redis://***@r:6379/0', source: 'environment' });
    expect(byName.KAFKA_BROKERS).toMatchObject({ value: 'a:1,b:2', source: 'environment' });
    expect(byName.SANDBOX_WORKERS).toMatchObject({
      value: null,
      source: 'default',
      detail: 'two for each core, and two',
    });
    expect(JSON.stringify(described)).not.toContain('hunter2');
  });

  it.each([
    'redis://u:se@cret@a:1,redis://u:other@b:2',
    'redis://u:se/cret@a:1',
    'redis://u:other,u:secret@b:2',
    'rediss://h:6379/0?password=secret',
  ])('hides whatever in %s could be a password', async (url) => {
    const settings = await settingsOf({ env: { REDIS_URL: url } });
    expect(JSON.stringify(describeSettings(settings))).not.toMatch(/cret|other/);
  });

  it('writes durations as a person would', async () => {
    const described = describeSettings(await settingsOf({ env: { RUN_RETENTION: '5400s' } }));
    expect(described.find(({ name }) => name === 'RUN_RETENTION')?.value).toBe('90m');
  });
});
