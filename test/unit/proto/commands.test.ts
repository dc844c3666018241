import { readdirSync, readFileSync } from 'node:fs';
import { MAX_COMMAND_BYTES, type ParsedCommand, parseCommand, readTimestamp } from '@flowops/proto/commands.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const SAMPLES = new URL('../../fixtures/contracts/', import.meta.url);
const sample = (name: string) => readFileSync(new URL(name, SAMPLES), 'utf8');
const commandSamples = readdirSync(SAMPLES).filter((name) => name.endsWith('.json') && !name.startsWith('status-'));

describe('parseCommand', () => {
  it.each(commandSamples)('takes %s as the existing services write it', (name) => {
    expect(parseCommand(sample(name))).toMatchObject({ ok: true, unknownFields: [] });
  });

  it('reads a START of the existing producer: ids, time, steps as written', () => {
    const text = sample('start-existing-producer.json');
    const written = JSON.parse(text);
    expect(commandOf(parseCommand(text))).toEqual({
      ...{ kind: 'START', flowId: written.flowId, runId: written.runId, triggeredBy: 'system' },
      ...{ timestampMs: Date.parse('2025-10-03T12:00:00.123Z'), reason: null, inputs: {}, priority: 0 },
      steps: written.steps,
    });
  });

  it('reads epoch seconds with decimals', () => {
    expect(commandOf(parseCommand(sample('start-decision.json')))).toMatchObject({
      triggeredBy: 'ops',
      timestampMs: 1759492805123,
    });
  });

  it('takes null for every value that may be absent, and absence', () => {
    const nulls = { triggeredBy: null, timestamp: null, steps: null, inputs: null, priority: null, reason: null };
    for (const extra of [nulls, {}]) {
      expect(commandOf(parse({ eventType: 'EXECUTION_PAUSE', flowId: 'f', runId: 'r', ...extra }))).toEqual({
        ...{ kind: 'PAUSE', flowId: 'f', runId: 'r', triggeredBy: null, timestampMs: null, reason: null },
      });
    }
  });

  it.each(['START', 'STOP', 'PAUSE', 'RESUME'])('takes %s for EXECUTION_%s', (kind) => {
    for (const eventType of [kind, `EXECUTION_${kind}`]) {
      expect(commandOf(parse({ eventType, flowId: 'f', runId: 'r', steps: [] }))).toMatchObject({ kind });
    }
  });

  it('takes a value that was encoded twice, but not three times', () => {
    const once = sample('pause.json');
    const twice = JSON.stringify(once);
    expect(parseCommand(twice)).toEqual(parseCommand(once));
    expect(parseCommand(JSON.stringify(twice))).toMatchObject({ ok: false });
  });

  it('names fields it does not know and takes the rest', () => {
    const parsed = parse({ eventType: 'STOP', flowId: 'f', runId: 'r', traceId: 'x', tenant: 1 });
    expect(parsed).toMatchObject({ ok: true, unknownFields: ['traceId', 'tenant'] });
  });

  it('keeps what is ours: inputs, priority, reason', () => {
    const ours = { inputs: { a: { b: [1] } }, priority: 7, reason: 'night run' };
    expect(commandOf(parse({ eventType: 'START', flowId: 'f', runId: 'r', steps: [], ...ours }))).toMatchObject(ours);
  });

  it.each([
    ['an unknown eventType', { eventType: 'EXECUTION_DANCE' }, '"EXECUTION_DANCE" is unknown'],
    ['a name of Object.prototype as eventType', { eventType: 'constructor' }, '"constructor" is unknown'],
    ['a priority that is no integer', { eventType: 'START', priority: 1.5 }, 'priority'],
    ['a timestamp that is an object', { eventType: 'STOP', timestamp: {} }, 'timestamp'],
    ['inputs that are a list', { eventType: 'START', inputs: [] }, 'inputs'],
  ])('refuses %s, and tells which run it was for', (_title, fields, problem) => {
    expect(parse({ flowId: 'f', runId: 'r', ...fields })).toMatchObject({
      ...{ ok: false, flowId: 'f', runId: 'r', problem: expect.stringContaining(problem) },
    });
  });

  it.each(['a:b', '{a}', '', 'x'.repeat(129), 'a b', 'é', 7, null])('refuses the runId %j', (runId) => {
    const parsed = parse({ eventType: 'STOP', flowId: 'f', runId });
    expect(parsed).toMatchObject({ ok: false, flowId: 'f', problem: expect.stringContaining('runId') });
    expect(parsed).not.toHaveProperty('runId');
  });

  it.each(['', 'hello', '{', '[]', '1', 'null', 'true', '""', '"text"', '\u0000', '{"a":1}{"b":2}'])(
    'refuses %j with a sentence',
    (text) => {
      expect(parseCommand(text)).toMatchObject({ ok: false, problem: expect.stringMatching(/\S/) });
    },
  );

  it('refuses __proto__ keys and nesting beyond reason', () => {
    const head = '{"eventType":"STOP","flowId":"f","runId":"r","x":';
    expect(parseCommand(`${head}{"__proto__":{"a":1}}}`)).toMatchObject({ ok: false });
    expect(parseCommand(`${head}${'['.repeat(5000)}${']'.repeat(5000)}}`)).toMatchObject({ ok: false });
  });

  it('refuses more than 1 MiB, counted in bytes, without reading it', () => {
    const text = `{"eventType":"STOP","flowId":"f","runId":"r","reason":"${'é'.repeat(MAX_COMMAND_BYTES / 2)}"}`;
    expect(text.length).toBeLessThan(MAX_COMMAND_BYTES);
    expect(parseCommand(text)).toMatchObject({ ok: false, problem: expect.stringContaining('bytes') });
  });

  it('never throws, whatever the text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void parseCommand(text)));
    fc.assert(fc.property(fc.json(), (text) => void parseCommand(text)));
  });

  it('never throws, whatever stands in the fields, and never gives a command without valid ids', () => {
    const anything = fc.jsonValue();
    const message = fc.record(
      {
        eventType: fc.oneof(fc.constantFrom('START', 'EXECUTION_STOP', 'toString'), anything),
        flowId: fc.oneof(fc.constant('f'), anything),
        runId: fc.oneof(fc.constant('r'), anything),
        triggeredBy: anything,
        timestamp: anything,
        steps: anything,
        inputs: anything,
        priority: anything,
        reason: anything,
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(message, (value) => {
        const parsed = parse(value);
        const ids = parsed.ok ? parsed.command : parsed;
        if (parsed.ok || ids.runId !== undefined) expect(ids.runId).toMatch(/^[A-Za-z0-9._-]{1,128}$/);
        if (parsed.ok || ids.flowId !== undefined) expect(ids.flowId).toMatch(/^[A-Za-z0-9._-]{1,128}$/);
      }),
    );
  });
});

describe('readTimestamp', () => {
  it.each([
    ['2025-10-03T12:00:00Z', Date.UTC(2025, 9, 3, 12)],
    ['2025-10-03T12:00:00.123456Z', Date.UTC(2025, 9, 3, 12, 0, 0, 123)],
    [1759492805.123456, 1759492805123],
    [1759492805, 1759492805000],
    ['yesterday', null],
    [Number.NaN, null],
    [null, null],
  ])('reads %j', (value, ms) => {
    expect(readTimestamp(value)).toBe(ms);
  });
});

function parse(value: object): ParsedCommand {
  return parseCommand(JSON.stringify(value));
}

function commandOf(parsed: ParsedCommand) {
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.command;
}
