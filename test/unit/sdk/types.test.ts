/** What the compiler must refuse is marked: `tsc` fails when one of these is accepted after all. */
import { expect, expectTypeOf, test } from 'vitest';
import type { JsonValue } from '../../../sdk/index.ts';
import { BaseTask, defineTask, Input, Output, TaskType } from '../../../sdk/index.ts';
import { runTask } from '../../../sdk/testing.ts';

interface Order {
  readonly id: string;
  readonly lines: readonly { readonly sku: string; readonly price: number }[];
}

@TaskType({ name: 'types', version: '1.0.0' })
class Types extends BaseTask {
  @Input({ type: 'integer' }) count!: number;
  @Input({ type: 'float' }) price = 1.5;
  @Input({ type: 'boolean' }) isOn = false;
  @Input({ type: 'string' }) mode: 'a' | 'b' = 'a';
  @Input({ type: 'string', default: 'x' }) preset!: string;
  @Input({ type: 'string', required: false }) note?: string;
  @Input({ type: 'string', required: false }) other: string | undefined;
  @Input({ type: 'json' }) options: { a: number } = { a: 1 };
  @Input({ type: 'json' }) order!: Order;
  @Input({ type: 'json' }) list: readonly string[] = [];
  @Input({ type: 'json' }) unknownJson: unknown;
  @Input({ type: 'json' }) anyJson: JsonValue = null;
  @Output({ type: 'json' }) found: Order | null = null;
  @Output({ type: 'string' }) readonly text: string = '';
  // @ts-expect-error a string cannot be an integer
  @Input({ type: 'string' }) wrong!: number;
  // @ts-expect-error a boolean cannot be a string
  @Input({ type: 'boolean' }) wrongText = 'no';
  // @ts-expect-error a number that may be text as well
  @Input({ type: 'integer' }) wrongUnion!: number | string;
  // @ts-expect-error null is no value of a string
  @Input({ type: 'string' }) wrongNull: string | null = null;
  // @ts-expect-error the default has another type than the input
  @Input({ type: 'string', default: 3 }) wrongDefault!: string;
  // @ts-expect-error there is no such type
  @Input({ type: 'number' }) wrongType!: number;
  // @ts-expect-error a type has to be said
  @Input({ description: 'no type' }) noType!: string;
  // @ts-expect-error there is no such option
  @Input({ type: 'string', optional: true }) wrongOption!: string;
  // @ts-expect-error an integer output cannot be a string
  @Output({ type: 'integer' }) wrongOutput = '';
  // @ts-expect-error an output is never required: it has to be set anyway
  @Output({ type: 'string', required: true }) requiredOutput = '';
  // @ts-expect-error only a field can be decorated
  @Input({ type: 'string' }) method() {}
  // @ts-expect-error a static field belongs to no single step
  @Output({ type: 'string' }) static shared = '';
  // @ts-expect-error the parentheses are missing
  @Input bare = '';
  start() {}
}

class Hooks extends BaseTask {
  async start() {}
  // @ts-expect-error `override` is missing, with noImplicitOverride
  stop() {}
  // @ts-expect-error there is nothing of that name to override
  override stopp() {}
  override async pause() {}
  // @ts-expect-error a hook is given nothing
  override resume(_why: string) {}
}

// @ts-expect-error the class does not extend BaseTask
@TaskType({ name: 'types', version: '1.0.0' })
class NoBase {}

// @ts-expect-error a task has a version
@TaskType({ name: 'types' })
class NoVersion extends BaseTask {
  start() {}
}

// @ts-expect-error start() is missing
class NoStart extends BaseTask {}

class Context extends BaseTask {
  async start() {
    expectTypeOf(this.context.signal).toEqualTypeOf<AbortSignal>();
    expectTypeOf(this.context.secret('A')).toEqualTypeOf<Promise<string>>();
    expectTypeOf(await this.context.fetch('https://a.example/')).toEqualTypeOf<Response>();
    this.logger.info('a', { b: 1 });
    // @ts-expect-error fields are an object
    this.logger.info('a', 'b');
    // @ts-expect-error nobody else sets it
    this.context.attempt = 2;
  }
}

const typed = defineTask({
  name: 'types',
  version: '1.0.0',
  inputs: {
    text: { type: 'string' },
    size: { type: 'integer', default: 3 },
    on: { type: 'boolean', required: false },
    data: { type: 'json' },
  },
  outputs: { up: { type: 'string' }, rows: { type: 'json' } },
  run({ inputs }) {
    expectTypeOf(inputs.text).toEqualTypeOf<string>();
    expectTypeOf(inputs.size).toEqualTypeOf<number>();
    expectTypeOf(inputs.on).toEqualTypeOf<boolean | undefined>();
    const order: Order = inputs.data;
    // @ts-expect-error an input that is not required may be undefined
    const on: boolean = inputs.on;
    // @ts-expect-error an input that is not declared
    inputs.other;
    // @ts-expect-error inputs are read only
    if (inputs.size === 0) inputs.text = '';
    return { up: `${inputs.text.toUpperCase()}${on}`, rows: order.lines };
  },
});

const wrongOutput = defineTask({
  name: 'a',
  version: '1.0.0',
  outputs: { up: { type: 'string' } },
  // @ts-expect-error an output of another type
  run: () => ({ up: 1 }),
});
const missingOutput = defineTask({
  name: 'a',
  version: '1.0.0',
  outputs: { up: { type: 'string' }, down: { type: 'string' } },
  // @ts-expect-error an output that is declared is missing
  run: () => ({ up: 'a' }),
});
const asyncOutput = defineTask({
  name: 'a',
  version: '1.0.0',
  outputs: { up: { type: 'string' } },
  run: async () => ({ up: 'a' }),
});
const wrongDefault = defineTask({
  name: 'a',
  version: '1.0.0',
  // @ts-expect-error a default of another type
  inputs: { a: { type: 'string', default: 1 } },
  run() {},
});
const wrongType = defineTask({
  name: 'a',
  version: '1.0.0',
  // @ts-expect-error there is no such type
  inputs: { a: { type: 'text' } },
  run() {},
});
// @ts-expect-error there is no work
const noRun = defineTask({ name: 'a', version: '1.0.0' });
// @ts-expect-error "node" is the only runtime that is said
const wrongRuntime = defineTask({ name: 'a', version: '1.0.0', runtime: 'deno', run() {} });

test('declarations that the compiler refuses still load', () => {
  const tasks = [Types, Hooks, NoBase, NoVersion, NoStart, Context, typed, wrongOutput, missingOutput, asyncOutput];
  expect([...tasks, wrongDefault, wrongType, noRun, wrongRuntime].every((task) => task !== undefined)).toBe(true);
});

test('runTask knows the inputs and outputs of a function, and takes text for any of them', async () => {
  const result = await runTask(typed, { inputs: { text: 'a', size: '4', data: { id: 'b', lines: [] } } });
  expectTypeOf(result.outputs.up).toEqualTypeOf<string | undefined>();
  expectTypeOf(result.status).toEqualTypeOf<'COMPLETED' | 'FAILED' | 'CANCELLED'>();
  expect(result.outputs).toEqual({ up: 'Aundefined', rows: [] });
  // @ts-expect-error an input that is not declared
  const unknownInput = await runTask(typed, { inputs: { txt: 'a' } });
  expect(unknownInput.code).toBe('INPUT_INVALID');
  // @ts-expect-error an input of another type
  const wrongInput = await runTask(typed, { inputs: { text: 'a', on: 3, data: {} } });
  expect(wrongInput.code).toBe('INPUT_INVALID');
  // @ts-expect-error a class that is no task
  expect((await runTask(Date)).code).toBe('PLUGIN_INVALID');
});
