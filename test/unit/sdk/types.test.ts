/** What the compiler must refuse is marked: `tsc` fails when one of these is accepted after all. */
import { expect, test } from 'vitest';
import { BaseTask, defineTask, Input, Output, TaskType } from '../../../sdk/index.ts';

@TaskType({ name: 'types', version: '1.0.0' })
class Types extends BaseTask {
  @Input({ type: 'integer' }) count!: number;
  @Input({ type: 'string' }) mode: 'a' | 'b' = 'a';
  @Input({ type: 'json' }) options: { a: number } = { a: 1 };
  @Input({ type: 'string', required: false }) note?: string;
  // @ts-expect-error a string cannot be an integer
  @Input({ type: 'string' }) wrong!: number;
  // @ts-expect-error the default has another type than the input
  @Input({ type: 'string', default: 3 }) wrongDefault!: string;
  // @ts-expect-error an integer output cannot be a string
  @Output({ type: 'integer' }) text = '';
  start() {}
}

const typed = defineTask({
  name: 'types',
  version: '1.0.0',
  inputs: { text: { type: 'string' }, size: { type: 'integer', default: 3 }, on: { type: 'boolean', required: false } },
  outputs: { up: { type: 'string' } },
  run({ inputs }) {
    const size: number = inputs.size;
    // @ts-expect-error an input that is not required may be undefined
    const on: boolean = inputs.on;
    return { up: `${inputs.text.toUpperCase()}${size}${on}` };
  },
});

const wrongOutput = defineTask({
  name: 'a',
  version: '1.0.0',
  outputs: { up: { type: 'string' } },
  // @ts-expect-error an output of another type
  run: () => ({ up: 1 }),
});
const wrongDefault = defineTask({
  name: 'a',
  version: '1.0.0',
  // @ts-expect-error a default of another type
  inputs: { a: { type: 'string', default: 1 } },
  run() {},
});

test('declarations that the compiler refuses still load', () => {
  expect([Types, typed, wrongOutput, wrongDefault].every((task) => task !== undefined)).toBe(true);
});
