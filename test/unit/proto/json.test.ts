import { MAX_JSON_DEPTH, MAX_JSON_VALUES, parseJson } from '@flowops/proto/json.ts';
import { describe, expect, it } from 'vitest';

const problemOf = (text: string, bounds?: Parameters<typeof parseJson>[1]): string => {
  const parsed = parseJson(text, bounds);
  return parsed.ok ? '' : parsed.problem;
};

describe('JSON from outside', () => {
  it.each(['null', '{"a":[1,"x",{"b":{}}]}', '[]', '"\\\\"', '" \\" ] } , "'])('%s is read as it is', (text) => {
    expect(parseJson(text)).toEqual({ ok: true, value: JSON.parse(text) });
  });

  it('is refused when it is nested too deeply or names __proto__', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    expect(parseJson(nested(MAX_JSON_DEPTH)).ok).toBe(true);
    expect(problemOf(nested(MAX_JSON_DEPTH + 2))).toBe('nested deeper than 64 levels');
    expect(problemOf('{"a":{"__proto__":1}}')).toBe('has a key named __proto__');
    expect(problemOf('{"a":{"\\u005f_proto__":1}}')).toBe('has a key named __proto__');
  });

  // A megabyte of brackets takes a hundred of objects: what is refused for its shape is not parsed first. That it was
  // not can be seen here, because the parser itself would have found another mistake.
  it('is refused for its depth before it is parsed', () => {
    expect(problemOf('['.repeat(1_000_000))).toBe('nested deeper than 64 levels');
    expect(problemOf(`{"a":"${'x'.repeat(10_000)}","b":${'{"c":'.repeat(100_000)}`)).toBe(
      'nested deeper than 64 levels',
    );
  });

  it('is refused for the number of its values before it is parsed', () => {
    expect(problemOf(`${'[],'.repeat(MAX_JSON_VALUES + 1)}!`)).toBe(`has more than ${MAX_JSON_VALUES} values`);
    expect(problemOf(`[${'1,'.repeat(3_000)}1]`, { values: 1_000 })).toBe('has more than 1000 values');
    expect(problemOf(`[${'1,'.repeat(3_000)}1]`, { values: 10_000 })).toBe('');
  });

  it('may hold any brackets and commas within its strings', () => {
    const text = JSON.stringify({
      a: '[{,'.repeat(50_000),
      b: `${'\\'.repeat(9)}"${'['.repeat(500)}`,
      '[[': [',', '"'],
    });
    expect(parseJson(text, { depth: 2, values: 10 })).toEqual({ ok: true, value: JSON.parse(text) });
  });

  it('that ends within a string is no JSON', () => {
    for (const end of ['"', '"abc', '"a\\"', '"a\\\\\\"']) {
      expect(problemOf(`[${'1,'.repeat(3_000)}${end}`)).not.toBe('');
    }
  });
});
