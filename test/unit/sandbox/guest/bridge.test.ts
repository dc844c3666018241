import { MAX_MANIFEST_BYTES } from '@flowops/proto/manifest.ts';
import { GuestBridge, type GuestReport } from '@flowops/sandbox/guest/bridge.ts';
import {
  CALL_TOO_MUCH,
  HOST_OP,
  MAX_HOST_CALL_LENGTH,
  MAX_OPEN_CALLS_LENGTH,
  MAX_REPORT_LENGTH,
} from '@flowops/sandbox/guest/guest-protocol.ts';
import { MAX_GUEST_TIMERS } from '@flowops/sandbox/guest/limits.ts';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

const limits = { memoryMb: 64, cpuMs: 1000, wallMs: 1000, outputBytes: 100, logBytes: 100, hostCalls: 2 };

function open(changes: Partial<typeof limits> = {}) {
  const seen = {
    logs: [] as string[],
    calls: [] as string[],
    fired: [] as number[],
    reports: [] as GuestReport[],
    limits: [] as string[],
  };
  const bridge = new GuestBridge({
    limits: { ...limits, ...changes },
    events: {
      onLog: (level, message) => void seen.logs.push(`${level} ${message}`),
      onProgress: () => undefined,
      onHostCall: (id, method) => void seen.calls.push(`${id} ${method}`),
      checkManifest: () => '',
      inspectedJson: () => undefined,
    },
    fire: (id) => void seen.fired.push(id),
    onReport: (report) => void seen.reports.push(report),
    onLimit: (code) => void seen.limits.push(code),
  });
  return { bridge, seen };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('lines over the log cap are refused and counted', () => {
  const { bridge, seen } = open();
  expect(bridge.take(HOST_OP.log, 'info', 'x'.repeat(50), '')).toBe(0);
  expect(bridge.take(HOST_OP.log, 'info', 'y'.repeat(50), '')).toBe(1);
  expect(bridge.take(HOST_OP.log, 'shout', 'z', '')).toBe(1);
  expect(seen.logs).toEqual([`info ${'x'.repeat(50)}`]);
  expect(bridge.droppedLogLines).toBe(2);
});

test('a report that is not one, or is far larger than any, still ends the step', () => {
  const tooLong = JSON.stringify({ code: 'PLUGIN_ERROR', message: 'x', stack: 'y'.repeat(MAX_REPORT_LENGTH) });
  for (const reportJson of ['5', '{}', '{"code":1}', 'no JSON', '', tooLong]) {
    const { bridge, seen } = open();
    expect(bridge.take(HOST_OP.failed, reportJson, 0, undefined)).toBe(0);
    expect(seen.reports).toMatchObject([{ status: 'FAILED', code: 'PLUGIN_ERROR', stack: '' }]);
  }
});

test('a declaration larger than any manifest is refused without being read', () => {
  const { bridge } = open();
  expect(bridge.take(HOST_OP.manifest, '{}', undefined, undefined)).toBe('');
  expect(bridge.take(HOST_OP.manifest, ' '.repeat(MAX_MANIFEST_BYTES + 1), undefined, undefined)).toMatch(
    /larger than/,
  );
});

test('a timer fires once, a cleared one never, and one too many is refused', () => {
  const { bridge, seen } = open();
  expect(bridge.take(HOST_OP.setTimer, 1, 10, undefined)).toBe(0);
  expect(bridge.take(HOST_OP.setTimer, 2, 10, undefined)).toBe(0);
  bridge.take(HOST_OP.clearTimer, 2, undefined, undefined);
  vi.advanceTimersByTime(100);
  expect(seen.fired).toEqual([1]);
  for (let id = 10; id < 10 + MAX_GUEST_TIMERS; id++) {
    expect(bridge.take(HOST_OP.setTimer, id, 1000, undefined)).toBe(0);
  }
  expect(bridge.take(HOST_OP.setTimer, 9, 1, undefined)).toBe(1);
});

test('a host call beyond the limit is LIMIT_HOST_CALLS, and only an open call takes an answer', () => {
  const { bridge, seen } = open();
  expect(bridge.take(HOST_OP.hostCall, 1, 'secret', '{}')).toBe(0);
  expect(bridge.takeReply(1)).toBe(true);
  expect(bridge.takeReply(1)).toBe(false);
  expect(bridge.take(HOST_OP.hostCall, 2, 'fetch', '{}')).toBe(0);
  expect(bridge.take(HOST_OP.hostCall, 3, 'fetch', '{}')).toBe(1);
  expect(seen).toMatchObject({ calls: ['1 secret', '2 fetch'], limits: ['LIMIT_HOST_CALLS'] });
});

test('outputs are counted in bytes, not in characters', () => {
  const { bridge, seen } = open();
  bridge.take(HOST_OP.completed, JSON.stringify('é'.repeat(60)), 0, undefined);
  expect(seen).toMatchObject({ reports: [], limits: ['LIMIT_OUTPUT'] });
});

test('an unknown call and arguments of wrong types change nothing', () => {
  const { bridge, seen } = open();
  expect(bridge.take(99, {}, [], () => 1)).toBe(1);
  expect(bridge.take(HOST_OP.random, 'x', undefined, undefined)).toBe('');
  expect(String(bridge.take(HOST_OP.random, 1e9, undefined, undefined))).toHaveLength(65_536);
  expect(seen.reports).toEqual([]);
});

test('after it is closed nothing comes through and no timer is left', () => {
  const { bridge, seen } = open();
  bridge.take(HOST_OP.setTimer, 1, 10, undefined);
  bridge.close();
  vi.advanceTimersByTime(100);
  bridge.take(HOST_OP.log, 'info', 'late', '');
  bridge.take(HOST_OP.completed, '{}', 0, undefined);
  expect(seen).toMatchObject({ fired: [], logs: [], reports: [] });
  expect(vi.getTimerCount()).toBe(0);
});

test('payloads that wait for an answer are bounded together, and room comes back with each answer', () => {
  const { bridge, seen } = open({ hostCalls: 10 });
  const half = 'x'.repeat(MAX_OPEN_CALLS_LENGTH / 2);
  expect(bridge.take(HOST_OP.hostCall, 1, 'fetch', half)).toBe(0);
  expect(bridge.take(HOST_OP.hostCall, 2, 'fetch', half)).toBe(0);
  expect(bridge.take(HOST_OP.hostCall, 3, 'fetch', '{}')).toBe(CALL_TOO_MUCH);
  expect(bridge.takeReply(1)).toBe(true);
  expect(bridge.take(HOST_OP.hostCall, 3, 'fetch', '{}')).toBe(0);
  expect(seen.calls).toEqual(['1 fetch', '2 fetch', '3 fetch']);
  expect(bridge.take(HOST_OP.hostCall, 4, 'fetch', 'x'.repeat(MAX_HOST_CALL_LENGTH + 1))).toBe(1);
});

test('giving a call up is no call of its own', () => {
  const { bridge, seen } = open({ hostCalls: 1 });
  expect(bridge.take(HOST_OP.hostCall, 1, 'fetch', '{}')).toBe(0);
  expect(bridge.take(HOST_OP.hostCall, 2, 'abort', '{"callId":1}')).toBe(0);
  expect(seen.limits).toEqual([]);
  expect(bridge.take(HOST_OP.hostCall, 3, 'fetch', '{}')).toBe(1);
  expect(seen.limits).toEqual(['LIMIT_HOST_CALLS']);
});
