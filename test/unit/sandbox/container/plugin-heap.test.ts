import { pluginHeap } from '@flowops/sandbox/container/runner/plugin-heap.ts';
import { expect, test } from 'vitest';

const MB = 1024 * 1024;

test.each([
  ["the cgroup's limit, less what Node takes", 128 * MB, 16_000 * MB, { youngMb: 8, oldMb: 72 }],
  ['what gVisor shows as the machine', 0, 128 * MB, { youngMb: 8, oldMb: 72 }],
  ['the machine where the cgroup has no limit', 2 ** 64, 2_000 * MB, { youngMb: 48, oldMb: 1904 }],
  ['never less than V8 needs to start', 32 * MB, 16_000 * MB, { youngMb: 6, oldMb: 16 }],
  ['never more than V8 can be told', 0, 512_000 * MB, { youngMb: 48, oldMb: 16 * 1024 }],
])('a heap is made from %s', (_, constrained, total, expected) => {
  expect(pluginHeap(constrained, total)).toEqual(expected);
});
