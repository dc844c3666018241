import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { LogSchema } from '../../../../proto/sandbox_pb.js';
import { LINE_COST_BYTES, LogCap, MAX_LINE_BYTES } from '../../../../sandbox/attempts/log-cap.ts';

const line = (message: string, fields = '', level = 'info') =>
  create(LogSchema, { level, message, fieldsJson: Buffer.from(fields) });

describe('the cap on logs', () => {
  it('passes lines until the limit of all lines is reached, then drops and counts', () => {
    const cap = new LogCap(10 + 2 * LINE_COST_BYTES);
    expect(cap.admit(line('12345'))?.message).toBe('12345');
    expect(cap.admit(line('123456'))).toBeUndefined();
    expect(cap.admit(line('123', '{}'))?.message).toBe('123');
    expect(cap.admit(line('1'))).toBeUndefined();
    expect(cap.dropped).toBe(2);
  });

  it('cuts a long line at a whole character and says so', () => {
    const cap = new LogCap(1_000_000);
    for (const message of ['x'.repeat(20_000), 'é'.repeat(20_000), '😀'.repeat(20_000)]) {
      const cut = cap.admit(line(message))?.message ?? '';
      expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(MAX_LINE_BYTES);
      expect(cut.endsWith('… (cut)')).toBe(true);
      expect(cut).not.toContain('\uFFFD');
    }
  });

  it('leaves out fields that are too large, and reads an unknown level as info', () => {
    const cap = new LogCap(1_000_000);
    expect(cap.admit(line('m', 'x'.repeat(MAX_LINE_BYTES + 1), 'fatal'))).toMatchObject({
      level: 'info',
      message: 'm',
    });
    expect(cap.admit(line('m', '{}', 'warn'))).toMatchObject({ level: 'warn' });
  });

  it('counts more than the text of a line, so that empty lines are not free', () => {
    const cap = new LogCap(10 * LINE_COST_BYTES);
    const admitted = Array.from({ length: 100 }, () => cap.admit(line(''))).filter((one) => one !== undefined);
    expect(admitted).toHaveLength(10);
    expect(cap.dropped).toBe(90);
  });

  it('tells who logs on and on', () => {
    const cap = new LogCap(0);
    for (let i = 0; i < 100_000; i++) cap.admit(line('x'));
    expect(cap.isBeyondAll).toBe(false);
    cap.admit(line('x'));
    expect(cap.isBeyondAll).toBe(true);
  });
});
