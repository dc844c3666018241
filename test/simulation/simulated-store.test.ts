import { type OpenStore, runStoreContract } from '../contract/run-store.ts';
import { runStoreModelContract } from '../contract/run-store-model.ts';
import { ALWAYS_UP, NoteChannel, SimulatedStore } from './store/simulated-store.ts';
import { StoreData } from './store/store-data.ts';

async function open(): Promise<OpenStore> {
  const data = new StoreData({ now: () => Date.now(), keptMs: 2_000 });
  const channel = new NoteChannel();
  const connect = (format: 1 | 2 = 1) =>
    new SimulatedStore({
      data,
      channel,
      wire: async (_, script) => script(),
      durability: { description: 'simulated', delayMs: 0 },
      format,
      health: ALWAYS_UP,
    });
  const store = connect();
  return {
    store,
    notesReachOthers: true,
    openSecond: async (options) => connect(options?.format),
    dispose: () => store.close(),
  };
}

runStoreContract('the simulated store', open);
runStoreModelContract('the simulated store', open);
