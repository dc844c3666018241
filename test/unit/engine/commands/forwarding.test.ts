import { firstPlace, KafkaForwarder, MAX_HOPS, nextHop } from '@flowops/engine/commands/forwarding.ts';
import type { OutgoingRecord, SendResult } from '@flowops/engine/publishing/send-lane.ts';
import type { Sender, SendTerms } from '@flowops/engine/publishing/sender.ts';
import { describe, expect, it } from 'vitest';

const FROM = { partition: 3, offset: '42', recordTimeMs: 0 };
const RECORD = { key: Buffer.from('r'), value: Buffer.from('{}'), headers: { trace: 'x' }, timestamp: '17' };

describe('KafkaForwarder', () => {
  it('sends the record to the home partition, bound to the partition it was read on', async () => {
    const { sender, sent } = recordingSender();
    const forwarder = new KafkaForwarder(sender, 'commands');
    expect(await forwarder.forward(RECORD, FROM, '1')).toEqual({ result: 'sent' });
    const headers = { trace: 'x', 'flowops-hops': '1', 'flowops-origin': '3:42' };
    expect(sent).toEqual([{ topic: 'commands', record: { ...RECORD, headers }, terms: { partition: 1, home: '3' } }]);
  });

  it.each([
    ['a home that is no number', 'run-1', /home of the run is run-1, which is no partition of commands/],
    ['a number that the topic does not have', '4', /home of the run is 4, which is no partition/],
    ['a number in another spelling', '01', /no partition/],
  ])('refuses %s', async (_title, home, problem) => {
    const { sender, sent } = recordingSender();
    const answer = await new KafkaForwarder(sender, 'commands').forward(RECORD, FROM, home);
    expect(answer).toEqual({ result: 'refused', problem: expect.stringMatching(problem) });
    expect(sent).toEqual([]);
  });

  it('refuses a command that was sent on three times', async () => {
    const { sender, sent } = recordingSender();
    const record = { ...RECORD, headers: { 'flowops-hops': Buffer.from(String(MAX_HOPS)) } };
    const answer = await new KafkaForwarder(sender, 'commands').forward(record, FROM, '1');
    expect(answer).toEqual({ result: 'refused', problem: expect.stringContaining('sent on 3 times') });
    expect(sent).toEqual([]);
  });

  it('refuses a command that its headers make too large', async () => {
    const { sender } = recordingSender('given-up');
    const answer = await new KafkaForwarder(sender, 'commands').forward(RECORD, FROM, '1');
    expect(answer).toEqual({ result: 'refused', problem: expect.stringContaining('too large') });
  });
});

describe('nextHop', () => {
  it('counts the hops and keeps where the command was read first', () => {
    const first = nextHop(RECORD, FROM);
    const second = nextHop(first ?? RECORD, {
      partition: 1,
      offset: '7',
      recordTimeMs: 0,
      first: { partition: 3, offset: '42' },
    });
    expect(second?.headers).toEqual({ trace: 'x', 'flowops-hops': '2', 'flowops-origin': '3:42' });
    expect(firstPlace(second ?? RECORD)).toEqual({ partition: 3, offset: '42' });
  });

  it.each([['x'], ['-1'], ['1e9'], ['']])('counts a header %j that is not ours as no hop', (hops) => {
    expect(nextHop({ ...RECORD, headers: { 'flowops-hops': hops } }, FROM)?.headers).toMatchObject({
      'flowops-hops': '1',
    });
  });

  it.each([['3'], ['3:x'], ['a:1'], ['']])('knows no first place in %j', (origin) => {
    expect(firstPlace({ ...RECORD, headers: { 'flowops-hops': '1', 'flowops-origin': origin } })).toBeUndefined();
  });
});

function recordingSender(result: SendResult = 'sent') {
  const sent: { topic: string; record: OutgoingRecord | undefined; terms: SendTerms | undefined }[] = [];
  const sender: Sender = {
    send: async ({ topic }, [record], terms) => {
      sent.push({ topic, record, terms });
      return result;
    },
    hasPartition: async (_topic, partition) => partition < 4,
    release: () => {},
    close: async () => {},
  };
  return { sender, sent };
}
