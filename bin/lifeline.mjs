/**
 * What flowops.mjs starts when it runs under an older Node: ends this process when the one that stands in for it was
 * killed without a chance to pass that on, then goes on as if it had been started directly.
 */
import module from 'node:module';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { ROOT } from './node24.mjs';

const LIFELINE_FD = 3;

const lifeline = new Socket({ fd: LIFELINE_FD, readable: true, writable: false });
// Nothing is ever sent; the end is the message. A launcher that was killed outright has us killed outright.
lifeline.on('end', () => process.kill(process.pid, 'SIGKILL'));
lifeline.on('error', () => process.kill(process.pid, 'SIGKILL'));
lifeline.resume();
lifeline.unref();

module.enableCompileCache(join(ROOT, 'node_modules', '.cache', 'flowops'));
await import('./flowops.ts');
