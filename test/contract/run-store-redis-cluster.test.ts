import { afterAll, beforeAll } from 'vitest';
import { connectRedisStore } from '../../engine/store/redis-store.ts';
import type { StateFormat } from '../../engine/store/run-store.ts';
import { type RedisClusterService, startRedisCluster } from '../services/redis-cluster.ts';
import { type OpenStore, runStoreContract } from './run-store.ts';
import { runStoreModelContract } from './run-store-model.ts';

const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

let cluster: RedisClusterService;
beforeAll(async () => {
  cluster = await startRedisCluster();
});
afterAll(() => cluster.stop());

async function open(): Promise<OpenStore> {
  await cluster.flush();
  const connect = (options?: { readonly format: StateFormat }) =>
    connectRedisStore({ url: cluster.url, log, ...options });
  const store = await connect();
  return { store, notesReachOthers: true, openSecond: connect, dispose: () => store.close() };
}

runStoreContract('the Redis store on a cluster', open);
runStoreModelContract('the Redis store on a cluster', open);
