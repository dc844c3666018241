/** The settings of REDIS_* and STATE_FORMAT, as the options of the store. */
import type { SettingValues } from '@flowops/proto/settings.ts';
import type { RedisStoreOptions } from './redis-store.ts';

export function readRedisSettings(values: SettingValues): Omit<RedisStoreOptions, 'url' | 'log' | 'signal'> {
  const { REDIS_TLS_CA: ca, REDIS_TLS_CERT: cert, REDIS_TLS_KEY: key } = values;
  const { REDIS_SENTINEL_USERNAME: username, REDIS_SENTINEL_PASSWORD: password } = values;
  return {
    allowUnsafe: values.REDIS_ALLOW_UNSAFE,
    format: values.STATE_FORMAT,
    tls: given({ ca, cert, key }),
    sentinelLogin: given({ username, password }),
  };
}

/** Without what is not set. */
function given<Name extends string>(values: Readonly<Record<Name, string | undefined>>): Partial<Record<Name, string>> {
  const found: Partial<Record<Name, string>> = {};
  for (const name in values) {
    const value = values[name];
    if (value !== undefined) found[name] = value;
  }
  return found;
}
