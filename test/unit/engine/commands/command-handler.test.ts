import { type CommandRecord, handleRecord } from '@flowops/engine/commands/command-handler.ts';
import { deadLetter, type SourceRecord, withoutValue } from '@flowops/engine/commands/dead-letters.ts';
import { readRecord } from '@flowops/engine/commands/read-record.ts';
import { MAX_COMMAND_BYTES } from '@flowops/proto/commands.ts';
import { describe, expect, it } from 'vitest';

const STOP = JSON.stringify({ eventType: 'STOP', flowId: 'f', runId: 'r' });

describe('handleRecord', () => {
  it('hands a command to the sink with the place and time of its record', async () => {
    const world = harness();
    await world.handle({ value: Buffer.from(STOP), offset: '42', timestamp: '1759492805123' });
    expect(world.taken).toEqual([['STOP', 'f', 'r', { partition: 3, offset: '42', recordTimeMs: 1759492805123 }]]);
    expect(world.letters).toEqual([]);
  });

  it('puts what is no command among the dead letters and answers it when it says which run it is for', async () => {
    const world = harness();
    const value = Buffer.from(JSON.stringify({ eventType: 'DANCE', flowId: 'f', runId: 'r' }));
    await world.handle({ value });
    expect(world.letters).toEqual([{ value, reason: expect.stringContaining('"DANCE" is unknown') }]);
    expect(world.outcomes).toMatchObject([
      {
        ...{ eventType: 'COMMAND_OUTCOME', command: 'UNKNOWN', flowId: 'f', runId: 'r', outcome: 'REJECTED' },
        ...{ code: 'COMMAND_INVALID', via: 'kafka', timestamp: '1970-01-01T00:00:00.000Z' },
      },
    ]);
    expect(world.homes).toEqual(['3']);
    expect(world.taken).toEqual([]);
  });

  it('answers nothing when no run can be read from it', async () => {
    const world = harness();
    await world.handle({ value: Buffer.from('{"eventType":"STOP","flowId":"f"}') });
    expect(world.letters).toHaveLength(1);
    expect(world.outcomes).toEqual([]);
  });

  it('sends a command on to the home of its run, with key, value, headers and time as they were', async () => {
    const world = harness({ home: '7' });
    const record = {
      key: Buffer.from('r'),
      value: Buffer.from(STOP),
      headers: { trace: 'x' },
      timestamp: '1759492805123',
    };
    await world.handle({ ...record, offset: '42' });
    expect(world.forwarded).toEqual([
      { record, from: { partition: 3, offset: '42', recordTimeMs: 1759492805123 }, home: '7' },
    ]);
    expect(world.outcomes).toEqual([]);
  });

  it('refuses a command that cannot get to the home of its run, and is done with it', async () => {
    const world = harness({ home: 'run-x', refused: 'the home of the run is run-x' });
    await world.handle({ value: Buffer.from(STOP) });
    expect(world.outcomes).toMatchObject([
      {
        ...{ command: 'STOP', flowId: 'f', runId: 'r', outcome: 'REJECTED', code: 'COMMAND_INVALID', via: 'kafka' },
        message: 'the home of the run is run-x',
      },
    ]);
    expect(world.homes).toEqual(['3']);
  });

  it('tells the sink where a command was read first that was sent on to this partition', async () => {
    const world = harness();
    const headers = { 'flowops-hops': '1', 'flowops-origin': '9:1234567890123456789' };
    await world.handle({ value: Buffer.from(STOP), headers });
    expect(world.taken).toMatchObject([['STOP', 'f', 'r', { first: { partition: 9, offset: '1234567890123456789' } }]]);
  });

  it('is not done with a record whose dead letter could not be sent', async () => {
    const world = harness({ deadLettersFail: true });
    await expect(world.handle({ value: null })).rejects.toThrow('away');
  });
});

describe('readRecord', () => {
  it.each([
    ['a record without a value', null, 'the record has no value'],
    ['an empty value', Buffer.alloc(0), 'the value is empty'],
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'the value is not UTF-8 text'],
    ['UTF-16', Buffer.from(STOP, 'utf16le'), 'not JSON'],
    ['more than 1 MiB', Buffer.alloc(MAX_COMMAND_BYTES + 1, ' '), `more than ${MAX_COMMAND_BYTES} bytes`],
  ])('refuses %s', (_title, value, problem) => {
    expect(readRecord(value)).toMatchObject({ ok: false, problem: expect.stringContaining(problem) });
  });

  it('takes a byte order mark, as some producers write one', () => {
    expect(readRecord(Buffer.from(`\uFEFF${STOP}`))).toMatchObject({ ok: true, command: { kind: 'STOP' } });
  });
});

describe('deadLetter', () => {
  const origin = { topic: 'execution.commands', partition: 3, offset: '42' };

  it('keeps key, value and headers as bytes and adds origin and reason', () => {
    const record = { key: Buffer.from([1]), value: Buffer.from([0xff, 0]), headers: { trace: Buffer.from([9]) } };
    const letter = deadLetter(record, origin, 'no JSON');
    expect(letter.key).toBe(record.key);
    expect(letter.value).toBe(record.value);
    expect(letter.headers).toEqual({
      trace: Buffer.from([9]),
      'flowops-reason': 'no JSON',
      'flowops-topic': 'execution.commands',
      'flowops-partition': '3',
      'flowops-offset': '42',
    });
  });

  it('goes without its value, saying so, where the topic does not take it', () => {
    const letter = deadLetter({ key: null, value: Buffer.alloc(9) }, origin, 'too large');
    const smaller = withoutValue(letter);
    expect(smaller).toMatchObject({ value: null, headers: { 'flowops-offset': '42' } });
    expect(smaller?.headers?.['flowops-value-omitted']).toContain('9 bytes');
    expect(withoutValue({ key: null, value: null })).toBeUndefined();
  });
});

function harness(options: { deadLettersFail?: boolean; home?: string; refused?: string } = {}) {
  const taken: unknown[] = [];
  const letters: { value: Buffer | null; reason: string }[] = [];
  const outcomes: unknown[] = [];
  /** In whose name each outcome was sent. */
  const homes: (string | undefined)[] = [];
  const forwarded: unknown[] = [];
  const silent = () => {};
  return {
    taken,
    letters,
    outcomes,
    homes,
    forwarded,
    handle: (record: Partial<CommandRecord>) =>
      handleRecord(
        {
          topic: 'execution.commands',
          sink: {
            take: async (command, origin) => {
              taken.push([command.kind, command.flowId, command.runId, origin]);
              return options.home === undefined ? undefined : { home: options.home };
            },
            partitionsAssigned: async () => {},
            partitionsRevoked: async () => {},
          },
          deadLetters: {
            send: async ({ value }: SourceRecord, _origin, reason) => {
              if (options.deadLettersFail === true) throw new Error('Kafka is away');
              letters.push({ value, reason });
            },
          },
          forwarder: {
            forward: async (record, from, home) => {
              forwarded.push({ record, from, home });
              if (options.refused !== undefined) return { result: 'refused', problem: options.refused };
              return { result: 'sent' };
            },
          },
          publisher: {
            publishOutcome: async (event, home) => {
              outcomes.push(event);
              homes.push(home);
            },
          },
          log: { debug: silent, info: silent, warn: silent, error: silent },
          now: () => 0,
        },
        3,
        { key: null, value: null, offset: '0', timestamp: '0', ...record },
      ),
  };
}
