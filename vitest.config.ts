/**
 * The test projects, one for each kind of test. Whatever needs a service gets it from test/services, started once for
 * the project; unit tests start none.
 *
 * isolated-vm kills a Node 20+ process that has its snapshot on, so every worker starts with --no-node-snapshot.
 */
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { flowops } from './sdk/vitest.ts';

const SERVICES = './test/services/global-setup.ts';
const CORES = availableParallelism();

interface ProjectOptions {
  readonly workers: number;
  readonly testTimeoutMs: number;
  readonly services?: boolean;
}

function project(name: string, options: ProjectOptions) {
  return {
    extends: true as const,
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      maxWorkers: options.workers,
      testTimeout: options.testTimeoutMs,
      hookTimeout: options.testTimeoutMs,
      ...(options.services === true ? { globalSetup: [SERVICES] } : {}),
    },
  };
}

export default defineConfig({
  plugins: [flowops()],
  test: {
    pool: 'forks',
    execArgv: ['--no-node-snapshot'],
    // Files that start processes of their own mostly wait for them: two at a time share two cores well, more would starve
    // each other. Attacks measure what a core is worth, and run one after the other.
    projects: [
      project('unit', { workers: CORES, testTimeoutMs: 10_000 }),
      project('contract', { workers: CORES, testTimeoutMs: 30_000, services: true }),
      project('integration', { workers: Math.min(CORES, 2), testTimeoutMs: 60_000, services: true }),
      project('adversarial', { workers: 1, testTimeoutMs: 60_000, services: true }),
      project('e2e', { workers: Math.min(CORES, 2), testTimeoutMs: 180_000, services: true }),
      project('simulation', { workers: CORES, testTimeoutMs: 300_000 }),
      // It starts a broker and a Redis of its own, since it kills them; a scenario ends itself after 8 minutes.
      project('chaos', { workers: 1, testTimeoutMs: 540_000 }),
      project('mutation', { workers: 1, testTimeoutMs: 600_000 }),
    ],
  },
});
