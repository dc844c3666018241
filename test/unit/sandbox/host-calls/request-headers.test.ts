import { expect, it } from 'vitest';
import { findBadHeader, joinHeaders, ownHeaders } from '../../../../sandbox/host-calls/request-headers.ts';

it.each([
  ...['Host', 'Connection', 'Transfer-Encoding', 'Content-Length', 'TE', 'Upgrade', 'Expect', 'Keep-Alive', 'Trailer'],
  ...['Proxy-Authorization', 'PROXY-Connection', 'Accept-Encoding', 'Via'],
])('%s is ours, whatever the plugin says', (name) => {
  expect(
    ownHeaders([
      [name, 'x'],
      ['X-Other', 'y'],
    ]),
  ).toEqual([['x-other', 'y']]);
});

it.each([
  ['', 'x'],
  ['a b', 'x'],
  ['a:', 'x'],
  ['a\r\nb', 'x'],
  ['a', 'x\r\nHost: evil'],
  ['a', 'x\0'],
  ['a', 'x\u0100'],
  ['ä', 'x'],
])('the header %j: %j is not written', (name, value) => {
  expect(
    findBadHeader([
      ['fine', 'x'],
      [name, value],
    ]),
  ).toBe(name);
});

it('headers of one name are joined as HTTP does', () => {
  const joined = joinHeaders([
    ['a', '1'],
    ['cookie', 'x=1'],
    ['a', '2'],
    ['cookie', 'y=2'],
  ]);
  expect([...joined]).toEqual([
    ['a', '1, 2'],
    ['cookie', 'x=1; y=2'],
  ]);
});
