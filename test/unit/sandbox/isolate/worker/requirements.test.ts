import { versionProblem } from '@flowops/sandbox/isolate/worker/requirements.ts';
import { expect, test } from 'vitest';

const execArgv = ['--no-node-snapshot'];

test.each(['7.0.1', '7.1.0', '8.0.0'])('isolated-vm %s may run plugins', (isolatedVm) => {
  expect(versionProblem({ isolatedVm, execArgv })).toBeUndefined();
});

test.each(['7.0.0', '6.1.2', 'unknown'])('isolated-vm %s is refused by version', (isolatedVm) => {
  expect(versionProblem({ isolatedVm, execArgv })).toContain('at least 7.0.1 is needed');
});

test('a node with its snapshot on is refused', () => {
  expect(versionProblem({ isolatedVm: '7.0.1', execArgv: [] })).toContain('--no-node-snapshot');
});
