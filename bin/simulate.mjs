/** `npm run simulate`: brings what is missing, then runs test/simulation/main.ts under Node 24 with the same arguments. */
import { join } from 'node:path';
import { ROOT } from './node24.mjs';
import { runAs } from './run-as.mjs';
import { setUpOrExit } from './setup.mjs';

const node = await setUpOrExit({ dev: true });
await runAs(node, [join(ROOT, 'test', 'simulation', 'main.ts'), ...process.argv.slice(2)], { cwd: ROOT });
