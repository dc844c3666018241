import { hostLogLines } from '@flowops/engine/embedded/host-log-lines.ts';
import type { Log } from '@flowops/engine/log.ts';
import { expect, it } from 'vitest';

function collect(): { readonly log: Log; readonly lines: unknown[] } {
  const lines: unknown[] = [];
  const at = (level: string) => (fields: object, message: string) => void lines.push([level, message, fields]);
  return { log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }, lines };
}

const line = (level: number, msg: string, fields: object = {}) =>
  `${JSON.stringify({ level, time: 1, pid: 2, name: 'sandbox', msg, ...fields })}\n`;

it('passes lines on with their level and fields, in whatever pieces they come', () => {
  const { log, lines } = collect();
  const take = hostLogLines(log);
  const text = line(20, 'd') + line(30, 'i') + line(40, 'w', { problem: 'p' }) + line(50, 'e');
  for (const piece of [text.slice(0, 10), text.slice(10, 100), text.slice(100)]) take(piece);
  expect(lines).toEqual([
    ['debug', 'sandbox host: d', {}],
    ['info', 'sandbox host: i', {}],
    ['warn', 'sandbox host: w', { problem: 'p' }],
    ['error', 'sandbox host: e', {}],
  ]);
});

it('leaves a fatal line to the start that failed by it', () => {
  const { log, lines } = collect();
  hostLogLines(log)(line(60, 'no policy'));
  expect(lines).toEqual([]);
});

it('takes what is no line of the host for a warning, and one without an end in pieces', () => {
  const { log, lines } = collect();
  const take = hostLogLines(log);
  take('(node:1) Warning: old\n[1]\n\n');
  take('x'.repeat(70_000));
  take('y\n');
  expect(lines).toEqual([
    ['warn', 'sandbox host: (node:1) Warning: old', {}],
    ['warn', 'sandbox host: [1]', {}],
    ['warn', `sandbox host: ${'x'.repeat(70_000)}`, {}],
    ['warn', 'sandbox host: y', {}],
  ]);
});
