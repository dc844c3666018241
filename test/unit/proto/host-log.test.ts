/** The log of a sandbox host, as a person sees it. */
import { hostLog } from '@flowops/proto/host-log.ts';
import { expect, test } from 'vitest';

function shown(...pieces: string[]): string[] {
  const lines: string[] = [];
  const log = hostLog((line) => lines.push(line));
  for (const piece of pieces) log(piece);
  return lines;
}

test('log lines are shown by their message, however they are cut into pieces', () => {
  const line = JSON.stringify({ level: 40, time: 1, msg: 'no jail here' });
  expect(shown(line.slice(0, 7), `${line.slice(7)}\n${line}\n{"lev`, 'el":40,"msg":"x"}\n')).toEqual([
    'sandbox host: no jail here',
    'sandbox host: no jail here',
    'sandbox host: x',
  ]);
});

test('what is no log line is shown as it is, without steering the terminal', () => {
  expect(shown('(node:1) Warning: \u001b[2J\n\n[1]\n')).toEqual([
    'sandbox host: (node:1) Warning: ␛[2J',
    'sandbox host: [1]',
  ]);
});

test('the last words of a host that does not start are left to the error that carries them', () => {
  expect(shown('{"level":60,"code":"CONFIG_INVALID","msg":"wrong"}\n')).toEqual([]);
});

test('the reason that a line carries in a field of its own is shown with it', () => {
  expect(
    shown('{"level":40,"msg":"no worker","problem":"mount failed\\u001b[2J"}\n{"level":40,"msg":"x","problem":3}\n'),
  ).toEqual(['sandbox host: no worker (mount failed␛[2J)', 'sandbox host: x']);
});
