/** What `sandbox run` prints. */

import { jsonLine } from '@flowops/proto/json-line.ts';
import { reportedLine } from '@flowops/proto/log-text.ts';
import { runReportSchema } from '@flowops/sandbox/cli/reports.ts';
import { outputsText, progressText, receiptText } from '@flowops/sandbox/cli/run-text.ts';
import { describe, expect, test } from 'vitest';
import { RECEIPT } from './plugin-bundle.ts';

/** ANSI, OSC 8 and 52, CR, newline, bidi, 8-bit CSI. */
const HOSTILE = '\u001b[2J\u001b]8;;http://evil\u0007x\u001b]52;c;eA==\u0007\r\nfake\u202egnp\u009b1m\u2028';
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
const STEERING = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029]/;

test('progress is a share of the work, bounded, with what the plugin says about it', () => {
  expect(progressText({ fraction: 0.5, message: '' })).toBe('50 %');
  expect(progressText({ fraction: 7, message: 'a\u001b[2J' })).toBe('100 %  a␛[2J');
  expect(progressText({ fraction: -1, message: 'x' })).toBe('  0 %  x');
});

describe('outputs', () => {
  test('are one a line, as JSON', () => {
    expect(outputsText({ message: 'hi', n: 3, deep: { a: [null] } })).toBe(
      'message = "hi"\nn       = 3\ndeep    = {"a":[null]}',
    );
    expect(outputsText({})).toBe('no outputs');
  });

  test('steer no terminal', () => {
    expect(outputsText({ [HOSTILE]: HOSTILE })).not.toMatch(STEERING);
  });
});

describe('the receipt', () => {
  test('shows each figure against its limit, and who said it', () => {
    expect(receiptText(RECEIPT)).toBe(`receipt
  ran in      isolate tier, jailed by namespaces, isolated-vm 7.0.1
  by          rule 2 (sandbox-policy.yaml:14), policy sha256:dddddddddddd
  bundle      sha256:cccccccccccc, unsigned
  wall        12 ms of 30000 ms (queued 0 ms, start 2.3 ms)
  CPU         3.5 ms (told by the worker) of 10000 ms
  memory      24.1 MB (of the whole worker) of 64 MB
  outputs     45 bytes of 1.0 MB
  log         at most 64.0 KB
  host calls  0 of 1000`);
  });

  test('names who signed, the image, what went over the network and which secrets were read', () => {
    const net = [{ host: 'api.example.com:443', calls: 2, bytesOut: 10, bytesIn: 2048, ms: 12.4 }];
    const imageDigest = `sha256:${'e'.repeat(64)}`;
    const text = receiptText({ ...RECEIPT, publisher: 'acme', imageDigest, net, secrets: ['API_TOKEN', 'B'] });
    expect(text).toContain('bundle      sha256:cccccccccccc, signed by acme');
    expect(text).toContain('image       sha256:eeeeeeeeeeee');
    expect(text).toContain('network     api.example.com:443: 2 calls, 10 bytes out, 2.0 KB in, 12 ms');
    expect(text).toContain('secrets     API_TOKEN, B');
  });

  test('says what was not measured, not jailed or dropped', () => {
    const text = receiptText({ ...RECEIPT, jail: 'none', cpuMs: null, peakMemoryBytes: null, droppedLogLines: 7 });
    expect(text).toContain('isolate tier, NOT jailed');
    expect(text).toContain('CPU         not measured of 10000 ms');
    expect(text).toContain('memory      not measured of 64 MB');
    expect(text).toContain('at most 64.0 KB, 7 lines dropped');
  });
});

test('the JSON line is one line that steers no terminal, and reads back as what was put in', () => {
  const report = {
    status: 'COMPLETED' as const,
    code: null,
    error: null,
    outputs: { text: HOSTILE, tag: '\u{e0041}', plain: 'ä😀' },
    logs: [reportedLine({ timeMs: 1, level: 'debug', message: HOSTILE })],
    receipt: RECEIPT,
  };
  const line = jsonLine(report);
  expect(line).not.toMatch(STEERING);
  expect(line).toContain('ä😀');
  expect(runReportSchema.parse(JSON.parse(line))).toEqual(report);
});
