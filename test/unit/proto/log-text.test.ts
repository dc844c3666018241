/** A plugin's log line as a person sees it. */
import { logText, reportedLine } from '@flowops/proto/log-text.ts';
import { describe, expect, test } from 'vitest';

/** ANSI, OSC 8 and 52, CR, newline, bidi, 8-bit CSI. */
const HOSTILE = '\u001b[2J\u001b]8;;http://evil\u0007x\u001b]52;c;eA==\u0007\r\nfake\u202egnp\u009b1m\u2028';
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
const STEERING = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029]/;

describe('a log line', () => {
  test('has time, level, message and fields', () => {
    const line = reportedLine({
      timeMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
      level: 'warn',
      message: 'disk is nearly full',
      fields: { free: 12, of: '40 GB', path: '/data', more: { a: [1] } },
    });
    expect(line).toEqual({
      time: '2026-01-02T03:04:05.006Z',
      level: 'warn',
      message: 'disk is nearly full',
      fields: { free: 12, of: '40 GB', path: '/data', more: { a: [1] } },
    });
    expect(logText(line)).toBe('03:04:05.006 warn  disk is nearly full  free=12 of="40 GB" path=/data more={"a":[1]}');
  });

  test('steers no terminal, neither by its message nor by the names and values of its fields', () => {
    const text = logText(
      reportedLine({ timeMs: 0, level: 'info', message: HOSTILE, fields: { [HOSTILE]: HOSTILE, o: { [HOSTILE]: 1 } } }),
    );
    expect(text).not.toMatch(STEERING);
    expect(text).toContain('fake<U+202E>gnp');
  });

  test('with a time beyond all calendars is still a line', () => {
    expect(reportedLine({ timeMs: 2 ** 64, level: 'info', message: '' }).time).toBe('9999-12-31T00:00:00.000Z');
  });

  test('has colours on a terminal that takes them, put around what the plugin said', () => {
    const line = reportedLine({ timeMs: 0, level: 'error', message: 'no\u001b[2J', fields: { a: 1 } });
    expect(logText(line, true)).toBe(
      '\u001b[2m00:00:00.000\u001b[0m \u001b[31merror no␛[2J\u001b[0m  \u001b[2ma=1\u001b[0m',
    );
  });
});
