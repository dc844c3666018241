import { inject } from 'vitest';
import { connectRedisStore } from '../../engine/store/redis-store.ts';
import type { StateFormat } from '../../engine/store/run-store.ts';
import { freshRedis } from '../services/redis.ts';
import { type OpenStore, runStoreContract } from './run-store.ts';
import { runStoreModelContract } from './run-store-model.ts';

const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

async function open(): Promise<OpenStore> {
  const database = await freshRedis(inject('redisUrl'));
  const connect = (options?: { readonly format: StateFormat }) =>
    connectRedisStore({ url: database.url, allowUnsafe: true, log, ...options });
  const store = await connect();
  return {
    store,
    notesReachOthers: true,
    openSecond: connect,
    dispose: async () => {
      await store.close();
      await database.release();
    },
  };
}

runStoreContract('the Redis store', open);
runStoreModelContract('the Redis store', open);
