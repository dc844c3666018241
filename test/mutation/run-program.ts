/** Runs a program of a copied tree to its end, under this Node, and gives what it said. It does not outlive the test. */
import { dirname, join } from 'node:path';
import { bareEnvironment, run } from '../support/clone.ts';

/** Far longer than any of them takes on a busy machine. */
const MAX_RUN_MS = 8 * 60_000;
/** The guest engine of the sandbox ends a Node that has its snapshot on. */
const NODE_OPTIONS = ['--no-node-snapshot'];

export type Verdict =
  | { readonly found: 'nothing'; readonly text: string }
  | { readonly found: 'violation'; readonly text: string };

/** @throws when it ended in any other way than by finding nothing (0) or a violation (1). */
export async function runChecks(root: string, program: string, args: readonly string[]): Promise<Verdict> {
  const { code, text } = await run(process.execPath, [...NODE_OPTIONS, join(root, program), ...args], {
    cwd: root,
    env: bareEnvironment(dirname(process.execPath)),
    signal: AbortSignal.timeout(MAX_RUN_MS),
  });
  if (code === 0) return { found: 'nothing', text };
  if (code === 1) return { found: 'violation', text };
  throw new Error(`${program} ${args.join(' ')} ended with ${code}:\n${text.slice(-4_000)}`);
}
