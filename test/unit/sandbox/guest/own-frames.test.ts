import { ownFrames } from '@flowops/sandbox/guest/own-frames.ts';
import { expect, test } from 'vitest';

test('only the frames of the plugin stay, at most ten', () => {
  const stack = [
    'TypeError: at /etc/passwd',
    '    at Hello.start (acme.hello.js:12:7)',
    '    at async Object.run (acme.hello.js:3:1)',
    '    at acme.hello.js:4:2',
    '    at new Thing [as other] (acme.hello.js:5:5)',
    '    at execute (flowops:prelude:1:200)',
    '    at (<isolated-vm boundary>)',
    '    at IsolateRun.start (file:///srv/sandbox/worker.mjs:10:3)',
    '    at evil (/srv/acme.hello.js:1:1)',
  ].join('\n');
  expect(ownFrames(stack, 'acme.hello.js').split('\n')).toEqual([
    '    at Hello.start (acme.hello.js:12:7)',
    '    at async Object.run (acme.hello.js:3:1)',
    '    at acme.hello.js:4:2',
    '    at new Thing [as other] (acme.hello.js:5:5)',
  ]);
  expect(ownFrames('    at a (x.js:1:1)\n'.repeat(50), 'x.js').split('\n')).toHaveLength(10);
});

test('a stack that the plugin made up cannot bring in a path or take long', () => {
  expect(ownFrames(`    at ${'('.repeat(30_000)}x.js:1:1`, 'x.js')).toBe('');
  expect(ownFrames('    at /root/secret/x.js:1:1', 'x.js')).toBe('');
  expect(ownFrames('    at x.js:1:1 and more', 'x.js')).toBe('');
});
