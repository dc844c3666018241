/** Who may use a Redis, and how that is told when it is refused: TLS, certificates, users, and Redis' own greeting. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { connectRedisStore, type RedisStoreOptions } from '../../engine/store/redis-store.ts';
import { StoreUnavailable } from '../../engine/store/run-store.ts';
import { type Authority, newAuthority } from '../services/certificates.ts';
import { freePort, LOOPBACK } from '../services/ports.ts';
import { type RedisService, startRedis } from '../services/redis.ts';

const RUN = { flowId: 'flow', runId: 'run' };
const lines: string[] = [];
const write = (_fields: object, message: string) => {
  lines.push(message);
};
const log = { debug: write, info: write, warn: write, error: write };
beforeEach(() => {
  lines.length = 0;
});

const connect = (options: Omit<RedisStoreOptions, 'log'>) => connectRedisStore({ ...options, log });

describe('rediss://', () => {
  let authority: Authority;
  let redis: RedisService;
  let url: string;
  beforeAll(async () => {
    authority = newAuthority();
    const server = authority.issue('redis.test');
    const port = await freePort();
    const settings = {
      'tls-port': String(port),
      'tls-cert-file': server.certFile,
      'tls-key-file': server.keyFile,
      'tls-ca-cert-file': authority.caFile,
      'tls-auth-clients': 'optional',
    };
    redis = await startRedis({ settings });
    await redis.cli('CONFIG', 'SET', 'requirepass', 'p@ss:word');
    url = `rediss://:${encodeURIComponent('p@ss:word')}@${LOOPBACK}:${port}`;
  });
  afterAll(() => redis.stop());

  it('with the authority that signed the server keeps runs and hears notes', async () => {
    const store = await connect({ url, tls: { ca: authority.ca } });
    const owner = await store.openPartition('0');
    expect(await store.create(RUN, owner, { definition: 'D' })).toEqual({ result: 'created' });
    const heard = new Promise<string>((resolve) => store.onNote((_run, text) => resolve(text)));
    await store.note(RUN, '0', 'hello');
    expect(await heard).toBe('hello');
    await store.close();
  });

  it('without it, or with another one, is refused and says why', async () => {
    for (const tls of [{}, { ca: newAuthority().ca }]) {
      const refused = connect({ url, tls });
      await expect(refused).rejects.toBeInstanceOf(StoreUnavailable);
      await expect(refused).rejects.toThrow(/cannot be reached \(.*certificate/);
    }
  });

  it('shows a certificate where the server wants one', async () => {
    const { cert, key } = authority.issue('engine');
    const plain = await connect({ url, tls: { ca: authority.ca, cert, key } });
    await plain.close();
    const strict = await strictServer(authority);
    try {
      const store = await connect({ url: strict.url, tls: { ca: authority.ca, cert, key } });
      await store.close();
      await expect(connect({ url: strict.url, tls: { ca: authority.ca } })).rejects.toBeInstanceOf(StoreUnavailable);
    } finally {
      await strict.stop();
    }
  });
});

/** Takes nobody without a certificate. */
async function strictServer(authority: Authority): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const server = authority.issue('strict.test');
  const port = await freePort();
  const redis = await startRedis({
    settings: {
      'tls-port': String(port),
      'tls-cert-file': server.certFile,
      'tls-key-file': server.keyFile,
      'tls-ca-cert-file': authority.caFile,
    },
  });
  return { url: `rediss://${LOOPBACK}:${port}`, stop: () => redis.stop() };
}

describe('a user', () => {
  let redis: RedisService;
  /** As docs/redis.md gives it. */
  const ACL = [
    ...['resetchannels', '&flowops:*', '~flow:*', '~flowops:*', '+@read', '+@write', '+@pubsub', '+@transaction'],
    ...['-@dangerous', '+evalsha', '+eval', '+script|load', '+time', '+info', '+config|get', '+cluster|slots'],
  ];
  beforeAll(async () => {
    redis = await startRedis();
    await redis.cli('ACL', 'SETUSER', 'flowops', 'on', '>right', ...ACL);
    await redis.cli('ACL', 'SETUSER', 'mute', 'on', '>right', '~*', '+@all', 'resetchannels');
    await redis.cli('ACL', 'SETUSER', 'blind', 'on', '>right', '+@all');
  });
  afterAll(() => redis.stop());
  const urlOf = (user: string, password = 'right') => `redis://${user}:${password}@${LOOPBACK}:${redis.port}`;

  it('with the rights of the docs can do all that the engine does, and no more', async () => {
    const store = await connect({ url: urlOf('flowops') });
    const owner = await store.openPartition('0');
    const heard = new Promise<string>((resolve) => store.onNote((_run, text) => resolve(text)));
    await store.create(RUN, owner, { definition: 'D', events: ['e'], outputs: { 'a.x': '1' } });
    await store.commit(RUN, owner.epoch, 1, { meta: { n: '1' }, steps: { a: 'A' }, acknowledged: 1 });
    await store.note(RUN, '0', 'hello');
    expect(await heard).toBe('hello');
    expect(await store.notes(RUN)).toEqual(['hello']);
    expect(await store.claim(RUN, owner)).toMatchObject({ result: 'claimed' });
    expect(await store.readOutputs(RUN, ['a.x'])).toEqual(new Map([['a.x', '1']]));
    expect(await store.readAllOutputs(RUN)).toEqual(new Map([['a.x', '1']]));
    expect(await store.restorePartition(owner, [RUN])).toBe('ok');
    expect(await store.activeRuns('0')).toEqual([RUN]);
    expect(await store.partitions()).toEqual(['0']);
    await store.markStopped({ flowId: 'flow', runId: 'other' }, 1_000);
    expect(await store.clock()).toBeGreaterThan(0);
    expect(await store.retire(RUN, owner, 0)).toBe('ok');
    await store.closePartition('0');
    await store.close();
    expect(lines).toEqual([]);
  });

  it('who may not use our channels is used, with one warning', async () => {
    const store = await connect({ url: urlOf('mute') });
    const owner = await store.openPartition('0');
    await store.openPartition('1');
    await store.create({ flowId: 'flow', runId: 'mute' }, owner, { definition: 'D' });
    await store.note({ flowId: 'flow', runId: 'mute' }, '0', 'kept');
    expect(await store.notes({ flowId: 'flow', runId: 'mute' })).toEqual(['kept']);
    expect(lines.filter((line) => line.includes('&flowops:*'))).toHaveLength(1);
    await store.close();
  });

  it('who may not use our keys is told so at the first call', async () => {
    const store = await connect({ url: urlOf('blind') });
    await expect(store.openPartition('0')).rejects.toThrow(/may not do what the engine needs.*\(NOPERM\)/);
    await store.close();
  });

  it('who is unknown, and a password that is missing, are told as what they are', async () => {
    await expect(connect({ url: urlOf('nobody') })).rejects.toThrow(
      /does not take the user and password.*\(WRONGPASS\)/,
    );
    const closed = await startRedis();
    await closed.cli('CONFIG', 'SET', 'requirepass', 'secret');
    await expect(connect({ url: closed.url })).rejects.toThrow(/it wants a password; put it into REDIS_URL \(NOAUTH\)/);
    await closed.stop();
  });
});

describe('a Redis that takes no connection', () => {
  const greeting = async (line: string): Promise<unknown> => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.end(`${line}\r\n`);
    });
    server.listen(0, LOOPBACK);
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    try {
      return await connect({ url: `redis://${LOOPBACK}:${port}` }).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
    } finally {
      server.close();
    }
  };

  it('because it is in protected mode is quoted, with the way out', async () => {
    const thrown = await greeting('-DENIED Redis is running in protected mode because protected mode is enabled');
    expect(thrown).toBeInstanceOf(StoreUnavailable);
    expect(String(thrown)).toMatch(/refuses: it is in protected mode .*requirepass.* \(DENIED\)/);
  });

  it('because it has too many clients says that', async () => {
    const thrown = await greeting('-ERR max number of clients reached');
    expect(thrown).toBeInstanceOf(StoreUnavailable);
    expect(String(thrown)).toContain('max number of clients reached');
  });
});
