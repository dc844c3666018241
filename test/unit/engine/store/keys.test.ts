import { describe, expect, it } from 'vitest';
import { parseRunName, partitionKeys, partitionOfKey, runKeys, runName } from '../../../../engine/store/keys.ts';

describe('the names of keys', () => {
  it('are those that other programs know', () => {
    expect(runKeys({ flowId: 'f.1', runId: 'r-2' })).toEqual({
      meta: 'flow:{f.1:r-2}:meta',
      def: 'flow:{f.1:r-2}:def',
      steps: 'flow:{f.1:r-2}:steps',
      context: 'flow:{f.1:r-2}:context',
      outbox: 'flow:{f.1:r-2}:outbox',
      inbox: 'flow:{f.1:r-2}:inbox',
    });
    expect(partitionKeys('3')).toEqual({ epoch: 'flowops:{p3}:epoch', active: 'flowops:{p3}:active' });
  });

  it('put all keys of a run under one hash tag', () => {
    const tags = Object.values(runKeys({ flowId: 'f', runId: 'r' })).map((key) => /\{(.*?)\}/.exec(key)?.[1]);
    expect(new Set(tags)).toEqual(new Set(['f:r']));
  });

  it.each([
    ['a:b', 'c'],
    ['a', 'b:c'],
    ['a', '{b'],
    ['a', 'b}'],
    ['', 'b'],
    ['a', 'b\n'],
    ['a', 'x'.repeat(129)],
  ])('refuse the ids %j, %j, which two runs could share', (flowId, runId) => {
    expect(() => runKeys({ flowId, runId })).toThrow(RangeError);
    expect(() => runName({ flowId, runId })).toThrow(RangeError);
  });

  it.each(['', 'a b', '1}:x', 'x'.repeat(129)])('refuse the partition %j', (partition) => {
    expect(() => partitionKeys(partition)).toThrow(RangeError);
  });

  it('of runs and partitions are read back', () => {
    expect(parseRunName(runName({ flowId: 'f', runId: 'r' }))).toEqual({ flowId: 'f', runId: 'r' });
    for (const text of ['', 'f', 'f:', 'f:r:x', 'f:r}']) expect(parseRunName(text)).toBeUndefined();
    for (const key of Object.values(partitionKeys('embedded-7'))) expect(partitionOfKey(key)).toBe('embedded-7');
    for (const key of ['flowops:{p}:epoch', 'flowops:{p1}:epoch:x', 'flowops:{q1}:epoch', 'flowops:{p1}:other']) {
      expect(partitionOfKey(key)).toBeUndefined();
    }
  });
});
