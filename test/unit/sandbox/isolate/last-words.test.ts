import { describe, expect, it } from 'vitest';
import { lastWordsOf } from '../../../../sandbox/isolate/last-words.ts';

describe('the last words of a process', () => {
  it.each([
    ['', ''],
    ['\n\n', ''],
    ['first\nlast\n', 'last'],
    [
      'mount: /tmp/root: bind /tmp/root failed.\n       dmesg(1) may have more information after failed mount system call.\n',
      'mount: /tmp/root: bind /tmp/root failed.',
    ],
    ['Error: it broke\n\nNode.js v24.21.0\n', 'Error: it broke'],
  ])('of %j are %j', (stderr, words) => {
    expect(lastWordsOf(stderr)).toBe(words);
  });
});
