import { cutEvent } from '@flowops/engine/publishing/oversize-event.ts';
import { describe, expect, it } from 'vitest';

describe('cutEvent', () => {
  it('keeps what the event says and cuts the text that made it long, with a note', () => {
    const event = {
      eventType: 'STEP_STATUS',
      status: 'FAILED',
      sequence: 7,
      error: 'x'.repeat(5000),
      receipt: { a: 1 },
    };
    const cut: unknown = JSON.parse(cutEvent(JSON.stringify(event)) ?? '');
    expect(cut).toEqual({
      ...event,
      error: expect.stringMatching(/^x{2000} … \(cut: 5000 characters/),
      receipt: null,
    });
  });

  it('leaves a null error a null error and adds no field', () => {
    const event = { eventType: 'FLOW_STATUS', status: 'COMPLETED', error: null };
    expect(JSON.parse(cutEvent(JSON.stringify(event)) ?? '')).toEqual(event);
  });

  it('has nothing to cut from what is no JSON object', () => {
    expect(cutEvent('[1]')).toBeUndefined();
    expect(cutEvent('{')).toBeUndefined();
  });
});
