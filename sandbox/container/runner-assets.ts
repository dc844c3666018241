/**
 * Builds what runs in a step container below the init: `runner.mjs`, one file with everything in it, the guest's prelude
 * and the guest thread's program as text. The image's build writes it (write-runner.ts); the hash of its text is the
 * image's label `flowops.runner`, by which a host tells an image that was made from other sources than its own.
 */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { type BuiltText, buildPrelude, buildProgram } from '../bundling/build-program.ts';

export async function buildRunner(): Promise<BuiltText> {
  const folder = path.join(import.meta.dirname, 'runner');
  const [prelude, thread] = await Promise.all([
    buildPrelude(),
    buildProgram({ entry: path.join(folder, 'thread', 'main.ts'), format: 'iife' }),
  ]);
  return buildProgram({
    entry: path.join(folder, 'main.ts'),
    format: 'esm',
    texts: {
      'flowops:prelude': { constant: 'PRELUDE', text: prelude },
      'flowops:guest-thread': { constant: 'GUEST_THREAD', text: thread },
    },
  });
}

/** SHA-256, hex: the value of the label `flowops.runner`. */
export function runnerHash(bundle: BuiltText): string {
  return createHash('sha256').update(bundle.text).digest('hex');
}
