import { EventLog } from '@flowops/engine/event-log.ts';
import type { FlowStatus, StatusEvent } from '@flowops/proto/statuses.ts';
import { describe, expect, it } from 'vitest';

const event = (sequence: number, status: FlowStatus): StatusEvent => ({
  eventType: 'FLOW_STATUS',
  flowId: 'f',
  runId: 'r',
  status,
  error: null,
  timestamp: '2026-01-01T00:00:00.000Z',
  sequence,
});

async function collect(events: AsyncIterable<StatusEvent>): Promise<(number | undefined)[]> {
  const seen: (number | undefined)[] = [];
  for await (const { sequence } of events) seen.push(sequence);
  return seen;
}

describe('the events of a run', () => {
  it('are followed from any sequence on, also by several, and end with the final one', async () => {
    const log = new EventLog();
    const run = log.open('f:r');
    log.add('f:r', [event(1, 'RUNNING')]);
    const all = collect(run.follow(1));
    const later = collect(run.follow(3));
    log.add('f:r', [event(2, 'PAUSED'), event(3, 'RUNNING')]);
    log.add('f:r', [event(4, 'COMPLETED')]);
    expect(await all).toEqual([1, 2, 3, 4]);
    expect(await later).toEqual([3, 4]);
    expect((await run.ended()).status).toBe('COMPLETED');
    expect(await collect(run.follow(2))).toEqual([2, 3, 4]);
  });

  it('that come again after a recovery are told once', async () => {
    const log = new EventLog();
    const run = log.open('f:r');
    log.add('f:r', [event(1, 'RUNNING'), event(2, 'PAUSED')]);
    log.add('f:r', [event(1, 'RUNNING'), event(2, 'PAUSED'), event(3, 'STOPPED')]);
    expect(await collect(run.follow(1))).toEqual([1, 2, 3]);
  });

  it('are forgotten by the log with the final one, and by nobody who holds them', async () => {
    const log = new EventLog();
    const run = log.open('f:r');
    log.add('f:r', [event(1, 'FAILED')]);
    expect(log.open('f:r')).not.toBe(run);
    expect(await collect(run.follow(1))).toEqual([1]);
  });

  it('of a run that had ended before end at once', async () => {
    const run = new EventLog().open('f:r');
    const waiting = collect(run.follow(1));
    run.close();
    expect(await waiting).toEqual([]);
  });
});
