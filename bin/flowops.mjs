#!/usr/bin/env -S node --
/**
 * The command `flowops`, as far as any Node from 18 on can take it: it checks that a Node 24 and the dependencies are
 * there, names what is missing with the one command that brings it, and goes on in flowops.ts under Node 24.
 *
 * The two dashes keep Node from reading our own options: it looks for --env-file among all words of a command line.
 *
 * Under Node 24 it goes on in this process. Otherwise it starts one and stands in for it: same terminal, signals
 * passed on, same exit code; and when it is itself killed, the other end of a pipe tells the child (lifeline.mjs).
 */
import module from 'node:module';
import { join } from 'node:path';
import {
  absentPackages,
  compileCache,
  findNode24,
  isNode24,
  NODE_NEEDED,
  nodeAdvice,
  packagesAdvice,
  ROOT,
} from './node24.mjs';
import { runAs } from './run-as.mjs';

const EXIT_USAGE = 2;
/** Enough names to see what kind of thing is missing; a bare clone lacks all of them. */
const NAMED_PACKAGES_MAX = 3;

const problem = findProblem();
if (problem !== undefined) {
  fail(problem);
} else if (isNode24(process.versions.node)) {
  const folder = compileCache();
  if (folder !== undefined) module.enableCompileCache(folder);
  await import('./flowops.ts');
} else {
  const child = join(ROOT, 'bin', 'flowops-child.mjs');
  await runAs(findNode24(), ['--', child, ...process.argv.slice(2)], { lifeline: true });
}

function findProblem() {
  if (findNode24() === undefined) {
    return `it needs ${NODE_NEEDED}, this is Node ${process.versions.node}; ${nodeAdvice()}`;
  }
  const absent = absentPackages();
  if (absent.length === 0) return undefined;
  const named = absent.slice(0, NAMED_PACKAGES_MAX).join(', ');
  const more = absent.length > NAMED_PACKAGES_MAX ? ` and ${absent.length - NAMED_PACKAGES_MAX} more` : '';
  return `not installed: ${named}${more}; ${packagesAdvice()}`;
}

function fail(message) {
  process.exitCode = EXIT_USAGE;
  if (process.argv.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ error: { code: 'CONFIG_INVALID', message } })}\n`);
  } else {
    process.stderr.write(`flowops: ${message}\n`);
  }
}
