/** What flowops.mjs starts under Node 24 when it runs under an older Node itself. */
import module from 'node:module';
import { watchLifeline } from './lifeline.mjs';
import { COMPILE_CACHE } from './node24.mjs';

watchLifeline();
module.enableCompileCache(COMPILE_CACHE);
await import('./flowops.ts');
