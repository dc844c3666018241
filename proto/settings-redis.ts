/** The settings of the Redis that holds the state of runs: one part of the table in settings.ts. */
import type { Setting } from './setting.ts';
import { multilineText, redisUrl, text, yesOrNo } from './settings-parsers.ts';

export const REDIS_SETTINGS = {
  REDIS_URL: {
    parse: redisUrl,
    kind: 'redis:// or rediss:// URL',
    secret: 'password',
    usedBy: ['engine'],
    about:
      'The Redis that holds the state of runs: one server, several nodes of a cluster (`redis://a,b,c`), or sentinels (`redis://a,b,c/0?sentinel=NAME`); docs/redis.md. Needed by the service together with KAFKA_BROKERS.',
  },
  REDIS_TLS_CA: {
    parse: multilineText,
    kind: 'PEM',
    whenUnset: 'the authorities that Node trusts',
    usedBy: ['engine'],
    about: 'Certificates of the authority that signed the servers of a rediss:// REDIS_URL.',
  },
  REDIS_TLS_CERT: {
    parse: multilineText,
    kind: 'PEM',
    usedBy: ['engine'],
    about: 'The certificate the engine shows to Redis.',
  },
  REDIS_TLS_KEY: {
    parse: multilineText,
    kind: 'PEM',
    secret: 'value',
    usedBy: ['engine'],
    about: 'The key of REDIS_TLS_CERT.',
  },
  REDIS_SENTINEL_USERNAME: {
    parse: text,
    kind: 'text',
    usedBy: ['engine'],
    about: 'The user name for the sentinels themselves, where they want one.',
  },
  REDIS_SENTINEL_PASSWORD: {
    parse: text,
    kind: 'text',
    secret: 'value',
    usedBy: ['engine'],
    about: 'The password for the sentinels themselves; the one in REDIS_URL is for the servers they name.',
  },
  REDIS_ALLOW_UNSAFE: {
    parse: yesOrNo,
    kind: 'true or false',
    default: 'false',
    usedBy: ['engine'],
    about:
      'Start also with a Redis that may lose runs: an eviction policy other than noeviction, or no append-only file.',
  },
} as const satisfies Record<string, Setting>;
