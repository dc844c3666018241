/**
 * Builds `runner.mjs`, the program in a step container: one file with everything in it, the guest's prelude and the
 * program of the guest thread as text. The same sources give the same bytes on every machine.
 */
import path from 'node:path';
import { type BuiltText, buildPrelude, buildProgram } from '../bundling/build-program.ts';

export async function buildRunner(): Promise<BuiltText> {
  const folder = path.join(import.meta.dirname, 'runner');
  const [prelude, thread] = await Promise.all([
    buildPrelude(),
    buildProgram({ entry: path.join(folder, 'thread', 'main.ts'), format: 'cjs' }),
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
