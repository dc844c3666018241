import { declaredDifference } from '@flowops/sandbox/guest/declared-difference.ts';
import { expect, test } from 'vitest';

test('the order of keys makes no difference', () => {
  expect(declaredDifference({ a: 1, b: [{ c: 2 }] }, { b: [{ c: 2 }], a: 1 })).toBeUndefined();
});

test.each([
  [{ version: '1.0.0' }, { version: '1.0.1' }, 'version is "1.0.1" in the code and "1.0.0" in the line'],
  [{ inputs: {} }, { inputs: { a: 1 } }, 'inputs.a is 1 in the code and missing in the line'],
  [{ permissions: { net: ['a:1'] } }, { permissions: { net: [] } }, 'permissions.net[0] is missing in the code'],
])('%o against %o names the field and both values', (line, code, message) => {
  expect(declaredDifference(line, code)).toContain(message);
});
