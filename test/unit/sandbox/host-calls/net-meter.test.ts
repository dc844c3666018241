import { expect, it } from 'vitest';
import { NetMeter } from '../../../../sandbox/host-calls/net-meter.ts';

it('the traffic of an attempt is summed up by place', () => {
  const meter = new NetMeter();
  for (const bytes of [10, 20]) {
    const call = meter.begin('a.example:443');
    call.sent(bytes);
    call.received(2 * bytes);
    call.end();
    call.end();
  }
  expect(meter.figures()).toEqual([
    { host: 'a.example:443', calls: 2, bytesOut: 30, bytesIn: 60, ms: expect.any(Number) },
  ]);
});

it('beyond twenty places the rest is one', () => {
  const meter = new NetMeter();
  for (let at = 0; at < 50; at++) meter.begin(`h${at}.example:443`).sent(1);
  meter.begin('h0.example:443').sent(1);
  const figures = meter.figures();
  expect(figures).toHaveLength(21);
  expect(figures[0]).toMatchObject({ host: 'h0.example:443', calls: 2 });
  expect(figures.at(-1)).toMatchObject({ host: 'other', calls: 30, bytesOut: 30 });
});
