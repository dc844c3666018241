import { parseTemplate, resolveValue, stringsOf } from '@flowops/engine/scheduler/references.ts';
import type { Json } from '@flowops/proto/json.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const steps = new Set(['a', 'report', 'b5a7e8a4-6a75-4d2a-9c67-2f4a6f0b1c01']);
const isStep = (name: string) => steps.has(name);
const outputs: Record<string, Json> = {
  'a.n': 42,
  'a.list': [1, { x: null }],
  'a.text': 'hello',
  'flow.input.who': 'Ada',
};

function resolve(value: Json): Json {
  return resolveValue(value, isStep, (reference) => {
    const name = reference.kind === 'output' ? `${reference.stepId}.${reference.key}` : `flow.input.${reference.key}`;
    return outputs[name] ?? null;
  });
}

describe('references in inputs', () => {
  it.each([
    'https://example.com/a.b?c=1.5',
    '1.5',
    'me@example.com',
    'Hello.',
    'example.com',
    'a. b',
    'report.the end',
    'a.',
    '.n',
    '',
  ])('takes %j as text', (text) => {
    expect(parseTemplate(text, isStep)).toEqual({ kind: 'text', text });
  });

  it('takes stepId.outputKey of a step as a reference that keeps its JSON type', () => {
    expect(resolve('a.n')).toBe(42);
    expect(resolve('a.list')).toEqual([1, { x: null }]);
    expect(resolve('b5a7e8a4-6a75-4d2a-9c67-2f4a6f0b1c01.message')).toBe(null);
  });

  it('keeps the type of a marked reference that is the whole value, and interpolates inside text', () => {
    expect(resolve('${a.n}')).toBe(42);
    expect(resolve('${ a.n }')).toBe(42);
    expect(resolve('n=${a.n}, list=${a.list}, ${a.text}!')).toBe('n=42, list=[1,{"x":null}], hello!');
  });

  it('reads the inputs of the run', () => {
    expect(resolve('Dear ${flow.input.who}')).toBe('Dear Ada');
  });

  it('writes a literal ${ for $${', () => {
    expect(resolve('$${a.n} costs $5')).toBe('${a.n} costs $5');
    expect(parseTemplate('$${a.n}', isStep)).toEqual({ kind: 'text', text: '${a.n}' });
  });

  it.each(['${', '${a.n', '${}', '${a}', '${a .n}', 'x ${nothing here} y'])('calls %j broken', (text) => {
    expect(parseTemplate(text, isStep).kind).toBe('broken');
  });

  it('follows the same rules inside lists and objects, but not in keys', () => {
    expect(resolve({ 'a.n': ['a.n', { deep: 'v${a.n}' }], plain: 'x.y' })).toEqual({
      'a.n': [42, { deep: 'v42' }],
      plain: 'x.y',
    });
    expect([...stringsOf({ u: ['x', { v: 'y' }] }, 'inputs')].map(({ path }) => path)).toEqual([
      'inputs.u[0]',
      'inputs.u[1].v',
    ]);
  });

  it('does not look for references in what a reference gave', () => {
    outputs['a.tricky'] = '${a.n}';
    expect(resolve('${a.tricky} and ${a.tricky}')).toBe('${a.n} and ${a.n}');
  });

  it('never throws, and leaves text without marks alone', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const template = parseTemplate(text, isStep);
        if (!text.includes('${') && template.kind === 'text') expect(template.text).toBe(text);
      }),
    );
  });
});
