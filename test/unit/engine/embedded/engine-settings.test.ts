import {
  ENGINE_SETTING_NAMES,
  type EngineSettings,
  environmentWithoutSettings,
  givenSettings,
  readEngineSettings,
} from '@flowops/engine/embedded/engine-settings.ts';
import { expect, it } from 'vitest';

const problemOf = (settings: EngineSettings | Record<string, string>): string => {
  try {
    readEngineSettings(settings);
    return 'none';
  } catch (thrown) {
    expect(thrown).toMatchObject({ name: 'FlowopsError', code: 'CONFIG_INVALID' });
    return thrown instanceof Error ? thrown.message : '';
  }
};

it('has the defaults of docs/settings.md, but hears only warnings of the sandbox host', () => {
  expect(readEngineSettings({})).toEqual({
    ...{ retentionMs: 7 * 24 * 3_600_000, stopGraceMs: 2_000, stateFormat: 1 },
    forHost: { LOG_LEVEL: 'warn' },
  });
});

it('takes text or numbers, and hands all of it to the sandbox host as text', () => {
  const read = readEngineSettings({ RUN_RETENTION: '30d', STOP_GRACE_MS: 500, SANDBOX_WORKERS: 2, LOG_LEVEL: 'debug' });
  expect(read).toMatchObject({ retentionMs: 30 * 24 * 3_600_000, stopGraceMs: 500 });
  expect(read.forHost).toEqual({
    ...{ LOG_LEVEL: 'debug', RUN_RETENTION: '30d', STOP_GRACE_MS: '500', SANDBOX_WORKERS: '2' },
  });
});

it('names every setting that is wrong or not one of an embedded engine', () => {
  expect(problemOf({ SANDBOX_WORKERS: 'many', STOP_GRACE_MS: '-1' })).toMatch(
    /^settings\.SANDBOX_WORKERS must be .*not "many"\nsettings\.STOP_GRACE_MS must be .*not "-1"$/,
  );
  expect(problemOf({ SANDBOX_WORKER: '2' })).toContain('did you mean SANDBOX_WORKERS?');
  expect(problemOf({ KAFKA_BROKERS: 'k:9092' })).toContain(`takes ${ENGINE_SETTING_NAMES.join(', ')}`);
});

it('leaves the settings of the environment out, and everything else in', () => {
  const env = { PATH: '/bin', LOG_LEVEL: 'verbose', SANDBOX_POLICY: 'p.yaml', DOCKER_HOST: 'unix:///d' };
  expect(environmentWithoutSettings(env)).toEqual({ PATH: '/bin', DOCKER_HOST: 'unix:///d' });
});

it('takes of the settings of a command those that are for it', () => {
  const given = { KAFKA_BROKERS: 'k:9092', SECRETS_DIR: '/s', FLOWOPS_HOME: '/h', STATE_FORMAT: '2' };
  expect(givenSettings({ given })).toEqual({ SECRETS_DIR: '/s', STATE_FORMAT: '2' });
});
