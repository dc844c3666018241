/** The inputs of `sandbox run`: where they come from, and how they are read by the declared types. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { collectInputs } from '@flowops/proto/collect-inputs.ts';
import { fitInputs, MAX_INPUT_BYTES } from '@flowops/proto/fit-inputs.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const NO_STDIN = Readable.from([]);
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'inputs-'));
});
afterAll(() => rm(folder, { recursive: true }));

const collect = async (pairs: string[], file?: string, stdin = NO_STDIN) => ({
  ...(await collectInputs({ pairs, file }, stdin)),
});

describe('collecting', () => {
  test('a pair is split at its first equals sign, and the last of a name counts', async () => {
    expect(await collect(['a=1', 'url=http://x/?b=2', 'empty=', 'a=2'])).toEqual({
      a: '2',
      url: 'http://x/?b=2',
      empty: '',
    });
  });

  test('a file gives values of any type, and --input goes over it', async () => {
    const file = join(folder, 'inputs.json');
    await writeFile(file, '{"a": 1, "b": {"c": [true]}}');
    expect(await collect(['a=x'], file)).toEqual({ a: 'x', b: { c: [true] } });
  });

  test('a dash reads standard input', async () => {
    expect(await collect([], '-', Readable.from([Buffer.from('{"a"'), Buffer.from(': "ä"}')]))).toEqual({ a: 'ä' });
  });

  test.each([
    [['a'], undefined, '--input a: write it as name=value'],
    [['=1'], undefined, '--input =1: write it as name=value'],
    [[], '-', '--inputs: standard input is not JSON: Unexpected end of JSON input'],
    [[], '/nonexistent/x.json', /^--inputs: \/nonexistent\/x.json cannot be read: ENOENT/],
  ])('%j from %s is a wrong call', async (pairs, file, message) => {
    await expect(collect(pairs, file)).rejects.toMatchObject({
      code: 'USAGE_INVALID',
      message: typeof message === 'string' ? message : expect.stringMatching(message),
    });
  });

  test.each(['[1]', '"a"', 'null', '1'])('%s is not an object of inputs', async (text) => {
    await expect(collect([], '-', Readable.from([Buffer.from(text)]))).rejects.toMatchObject({
      message: '--inputs: standard input must hold one JSON object of input names and values',
    });
  });

  test('standard input without end is not read to the end', async () => {
    const chunk = Buffer.alloc(1024 * 1024, ' ');
    let chunks = 0;
    const endless = new Readable({
      read() {
        chunks++;
        this.push(chunk);
      },
    });
    await expect(collect([], '-', endless)).rejects.toMatchObject({ message: expect.stringContaining('more than') });
    expect(chunks * chunk.length).toBeLessThan(2 * MAX_INPUT_BYTES);
  });
});

describe('fitting', () => {
  const declared = {
    count: { type: 'integer', required: true },
    ratio: { type: 'float', required: false },
    loud: { type: 'boolean', required: true, default: false },
    name: { type: 'string', required: false },
    data: { type: 'json', required: false },
  } as const;

  test('text is read as the declared type, and a default is left to the plugin', () => {
    expect(
      fitInputs({ count: '3', ratio: '1.5', loud: 'TRUE', name: '007', data: '{"a":[1]}' }, declared, 'plugin'),
    ).toMatchObject({
      ok: true,
      json: '{"count":3,"ratio":1.5,"loud":true,"name":"007","data":{"a":[1]}}',
    });
    expect(fitInputs({ count: 3 }, declared, 'plugin')).toMatchObject({ ok: true, json: '{"count":3}' });
  });

  test('everything that is wrong is told at once', () => {
    expect(fitInputs({ ratio: 'x', coutn: '1', loud: 'maybe', zzzzzzzz: '1' }, declared, 'plugin')).toMatchObject({
      ok: false,
      message: [
        'input ratio must be a number, but is "x"',
        'the plugin has no input coutn; did you mean count?',
        'input loud must be true or false, but is "maybe"',
        'the plugin has no input zzzzzzzz; its inputs: count, ratio, loud, name, data',
        'input count (integer) is required; give it with --input count=…',
      ].join('\n'),
    });
  });

  test('names of JavaScript itself are unknown inputs like any other', () => {
    const given = Object.assign(Object.create(null), { constructor: '1', toString: '2' });
    expect(fitInputs(given, {}, 'plugin')).toEqual({
      ok: false,
      message: 'the plugin has no input constructor; it takes none\nthe plugin has no input toString; it takes none',
    });
  });

  test('a wrong value is quoted without its control characters and not at length', () => {
    const result = fitInputs({ count: `\u001b[2J\u202e${'x'.repeat(1000)}` }, declared, 'plugin');
    expect(result.ok).toBe(false);
    const message = result.ok ? '' : result.message;
    expect(message).toContain('\\u001b[2J<U+202E>xxx');
    expect(message.length).toBeLessThan(200);
  });

  test('more than a step may be given is refused', () => {
    expect(fitInputs({ name: 'x'.repeat(MAX_INPUT_BYTES), count: 1 }, declared, 'plugin')).toMatchObject({
      ok: false,
      message: expect.stringContaining(`at most ${MAX_INPUT_BYTES} are allowed`),
    });
  });
});
