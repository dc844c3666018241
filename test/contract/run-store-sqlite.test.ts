import { join } from 'node:path';
import { afterAll } from 'vitest';
import { openSqliteStore } from '../../engine/store/sqlite-store.ts';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { type OpenStore, runStoreContract } from './run-store.ts';
import { runStoreModelContract } from './run-store-model.ts';

const folder = scratchFolder();
let files = 0;
afterAll(() => removeFolder(folder));

async function open(): Promise<OpenStore> {
  files += 1;
  const file = join(folder, `${files}`, 'state.db');
  const store = openSqliteStore({ file });
  return {
    store,
    notesReachOthers: false,
    openSecond: async (options) => openSqliteStore({ file, ...options }),
    dispose: () => store.close(),
  };
}

runStoreContract('the SQLite store', open);
runStoreModelContract('the SQLite store', open);
