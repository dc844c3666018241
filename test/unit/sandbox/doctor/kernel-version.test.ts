import { kernelRelease, kernelText } from '@flowops/sandbox/doctor/kernel-version.ts';
import { expect, test } from 'vitest';

const PLAIN = { isExact: true, isOfDistribution: false };
const EXACT = { isExact: true, isOfDistribution: true };
const BRANCH = { isExact: false, isOfDistribution: true };

test.each([
  ['6.1.0-28-amd64', '#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)', '', '6.1.0-28-amd64 (Debian 6.1.119-1)'],
  ['5.10.0-28-cloud-amd64', '#1 SMP Debian 5.10.209-2 (2024-01-31)', '', '5.10.0-28-cloud-amd64 (Debian 5.10.209-2)'],
  ['6.8.0-45-generic', '#45-Ubuntu SMP', 'Ubuntu 6.8.0-45.45-generic 6.8.12\n', '6.8.0-45-generic (Ubuntu 6.8.12)'],
  ['5.14.0-611.el9.x86_64', '#1 SMP PREEMPT_DYNAMIC Thu Nov 6 2025', '', '5.14.0-611.el9.x86_64'],
  ['6.18.44', '#1 SMP PREEMPT_DYNAMIC @0', '', '6.18.44'],
])('uname -r %s, uname -v %j, signature %j is told as %s', (release, version, signature, text) => {
  expect(kernelText({ release, version, signature })).toBe(text);
});

test.each([
  ['6.1.0-28-amd64 (Debian 6.1.119-1)', { release: '6.1.119', ...EXACT }],
  ['6.8.0-45-generic (Ubuntu 6.8.12)', { release: '6.8.12', ...EXACT }],
  ['6.1.0-28-amd64', { release: '6.1.0', ...BRANCH }],
  ['5.14.0-611.el9.x86_64', { release: '5.14.0', ...BRANCH }],
  ['6.4.0-150600.23.47-default', { release: '6.4.0', ...BRANCH }],
  ['6.12.38+deb13-amd64', { release: '6.12.38', ...EXACT }],
  ['5.10.240-238.959.amzn2.x86_64', { release: '5.10.240', ...EXACT }],
  ['6.10.14-linuxkit', { release: '6.10.14', ...EXACT }],
  ['6.18.44-fc-v669', { release: '6.18.44', ...PLAIN }],
  ['6.18', { release: '6.18.0', ...PLAIN }],
  ['7.0.0-rc3', { release: '7.0.0-rc3', ...PLAIN }],
])('%s was made from %j', (text, release) => {
  expect(kernelRelease(text)).toEqual(release);
});

test('what is no version is none', () => {
  expect(kernelRelease('')).toBeUndefined();
  expect(kernelRelease('unknown')).toBeUndefined();
});
