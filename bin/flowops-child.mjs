/** What flowops.mjs starts under Node 24 when it runs under an older Node itself. */
import module from 'node:module';
import { watchLifeline } from './lifeline.mjs';
import { compileCache } from './node24.mjs';

watchLifeline();
const folder = compileCache();
if (folder !== undefined) module.enableCompileCache(folder);
await import('./flowops.ts');
