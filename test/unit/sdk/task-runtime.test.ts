import { checkManifest, VALUE_TYPES as MANIFEST_TYPES } from '@flowops/proto/manifest.ts';
import { expect, test } from 'vitest';
import type { TaskContext } from '../../../sdk/index.ts';
import { BaseTask, defineTask, Input, Output, TaskError, TaskType } from '../../../sdk/index.ts';
import { VALUE_TYPES } from '../../../sdk/metadata.ts';
import { describeTask, runTask, type TaskReport } from '../../../sdk/task-runtime.ts';

const lines: string[] = [];
const line = (message: string) => void lines.push(message);
const init = {
  logger: { debug: line, info: line, warn: line, error: line },
  // The runtime only hands the context on; these tests look at two of its members.
  context: { attempt: 2, idempotencyKey: 'k' } as unknown as TaskContext,
};

function describe(exported: unknown) {
  const described = describeTask(exported, init);
  if (!described.ok) throw new Error(described.problem);
  return described.declaration;
}

function problemOf(exported: unknown): string {
  const described = describeTask(exported, init);
  return described.ok ? '' : described.problem;
}

function run(exported: unknown, inputs: unknown = {}, maxOutputLength = 10_000): Promise<TaskReport> {
  const environment = { init, maxOutputLength, codeOf: () => undefined, onHookError: () => undefined };
  return runTask(describe(exported), JSON.stringify(inputs), environment).report;
}

@TaskType({ name: 'acme.hello', version: '1.2.3', description: 'Greets', permissions: { secrets: ['TOKEN'] } })
class Hello extends BaseTask {
  @Input({ type: 'integer' }) repeat!: number;
  @Input({ type: 'string', description: 'who' }) name = 'world';
  @Input({ type: 'json', name: 'extra-data', required: false }) extra: { a: number } | undefined;
  @Output({ type: 'string' }) message = '';
  @Output({ type: 'json' }) seen: unknown = null;
  start() {
    this.message = `hello ${this.name} `.repeat(this.repeat).trim();
    this.seen = this.extra ?? { attempt: this.context.attempt };
    this.logger.info('done');
  }
}

test('both lists of value types are the same', () => {
  expect(VALUE_TYPES).toEqual(MANIFEST_TYPES);
});

test('a class gives a manifest that fits the contract, its initialisers as defaults', () => {
  const manifest = checkManifest(JSON.parse(describe(Hello).manifestJson));
  expect(manifest).toEqual({
    ok: true,
    manifest: {
      name: 'acme.hello',
      version: '1.2.3',
      description: 'Greets',
      permissions: { net: [], secrets: ['TOKEN'] },
      inputs: {
        repeat: { type: 'integer', required: true },
        name: { type: 'string', required: false, default: 'world', description: 'who' },
        'extra-data': { type: 'json', required: false },
      },
      outputs: { message: { type: 'string' }, seen: { type: 'json' } },
    },
  });
});

test('defineTask gives the same manifest as the class form', () => {
  @TaskType({ name: 'a', version: '1.0.0' })
  class A extends BaseTask {
    @Input({ type: 'string' }) text = 'x';
    @Output({ type: 'integer' }) length = 0;
    start() {}
  }
  const defined = defineTask({
    name: 'a',
    version: '1.0.0',
    inputs: { text: { type: 'string', default: 'x' } },
    outputs: { length: { type: 'integer' } },
    run: ({ inputs }) => ({ length: inputs.text.length }),
  });
  expect(describe(defined).manifestJson).toBe(describe(A).manifestJson);
});

test('a class runs with its inputs, defaults, logger and context', async () => {
  expect(await run(Hello, { repeat: 2 })).toEqual({
    status: 'completed',
    outputsJson: '{"message":"hello world hello world","seen":{"attempt":2}}',
  });
  expect(lines).toContain('done');
  expect(await run(Hello, { repeat: 1, name: 'you', 'extra-data': { a: 1 } })).toEqual({
    status: 'completed',
    outputsJson: '{"message":"hello you","seen":{"a":1}}',
  });
});

test('field initialisers of a class can use the logger', async () => {
  @TaskType({ name: 'a', version: '1.0.0' })
  class A extends BaseTask {
    readonly log = this.logger.info;
    @Output({ type: 'boolean' }) had = typeof this.log === 'function';
    start() {}
  }
  expect(await run(A)).toMatchObject({ outputsJson: '{"had":true}' });
});

test('a subclass has the inputs of its parent and its own name', () => {
  @TaskType({ name: 'b', version: '2.0.0' })
  class B extends Hello {
    @Input({ type: 'boolean' }) loud = false;
  }
  const manifest = JSON.parse(describe(B).manifestJson);
  expect(manifest.name).toBe('b');
  expect(Object.keys(manifest.inputs)).toEqual(['repeat', 'name', 'extra-data', 'loud']);
  expect(JSON.parse(describe(Hello).manifestJson).inputs).not.toHaveProperty('loud');
});

test.each([
  [{}, 'input "repeat" is required and was not given'],
  [{ repeat: null }, 'input "repeat" is required and was not given'],
  [{ repeat: 1.5 }, 'input "repeat" is 1.5, not an integer'],
  [{ repeat: '1' }, 'input "repeat" is the text "1", not an integer'],
])('the inputs %o are INPUT_INVALID before any code runs', async (inputs, message) => {
  expect(await run(Hello, inputs)).toMatchObject({ code: 'INPUT_INVALID', message: expect.stringContaining(message) });
});

const withOutput = (type: 'string' | 'integer' | 'float' | 'boolean' | 'json', value: unknown) =>
  defineTask({ name: 'a', version: '1.0.0', outputs: { o: { type } }, run: () => ({ o: value as never }) });

test.each([
  ['integer', 2 ** 53, 'is 9007199254740992, not an integer that a number holds exactly'],
  ['integer', '1', 'is the text "1"'],
  ['float', Number.NaN, 'is NaN, not a finite number'],
  ['boolean', 1, 'is 1, not true or false'],
  ['string', 5, 'is 5, not a string'],
  ['string', undefined, 'was not set'],
  ['json', undefined, 'was not set'],
  ['json', { f: () => 1 }, '.f is a function'],
  ['string', '\udfff', 'half a surrogate pair'],
] as const)('an output of type %s that is %o is OUTPUT_INVALID', async (type, value, message) => {
  expect(await run(withOutput(type, value))).toMatchObject({
    code: 'OUTPUT_INVALID',
    message: expect.stringMatching(/^output "o"/),
  });
  expect(await run(withOutput(type, value))).toMatchObject({ message: expect.stringContaining(message) });
});

test('outputs over the limit are LIMIT_OUTPUT', async () => {
  expect(await run(withOutput('string', 'x'.repeat(200)), {}, 100)).toMatchObject({ code: 'LIMIT_OUTPUT' });
});

test('what a task throws is PLUGIN_ERROR, and PLUGIN_FATAL when it says that a retry cannot help', async () => {
  const throwing = (error: unknown) =>
    defineTask({
      name: 'a',
      version: '1.0.0',
      run: () => {
        throw error;
      },
    });
  expect(await run(throwing(new TaskError('later', { retryAfterMs: 50 })))).toMatchObject({
    code: 'PLUGIN_ERROR',
    isRetryable: true,
    retryAfterMs: 50,
  });
  expect(await run(throwing(new TaskError('never', { retryable: false })))).toMatchObject({
    code: 'PLUGIN_FATAL',
    message: 'never',
    isRetryable: false,
  });
});

test('hooks of a class are called, and one that throws is told and changes nothing', async () => {
  const calls: string[] = [];
  const gate = Promise.withResolvers<void>();
  @TaskType({ name: 'a', version: '1.0.0' })
  class A extends BaseTask {
    async start() {
      await gate.promise;
    }
    override pause() {
      calls.push('pause');
    }
    override stop() {
      gate.resolve();
      throw new Error('no');
    }
  }
  const told: string[] = [];
  const onHookError = (hook: string, message: string) => void told.push(`${hook}: ${message}`);
  const task = runTask(describe(A), '{}', { init, maxOutputLength: 100, codeOf: () => undefined, onHookError });
  task.call('pause');
  task.call('resume');
  task.call('stop');
  expect(await task.report).toEqual({ status: 'completed', outputsJson: '{}' });
  expect(calls).toEqual(['pause']);
  expect(told).toEqual(['stop: no']);
});

test('what is not a task is named as what it is', () => {
  expect(problemOf(undefined)).toContain('there is no default export');
  expect(problemOf(3)).toContain('the default export is 3');
  expect(problemOf(() => 1)).toContain('without @TaskType');
  expect(problemOf({})).toContain('an object that defineTask(…) did not make');
  const both = Object.assign(class extends Hello {}, defineTask({ name: 'a', version: '1.0.0', run: () => ({}) }));
  expect(problemOf(both)).toContain('keep one of them');
});

test('what is wrong with a declaration is told, all of it at once', () => {
  @TaskType({ name: 'a', version: '1.0.0' })
  class A extends BaseTask {
    @Input({ type: 'string', default: 'a' }) one = 'b';
    @Input({ type: 'integer', required: true }) two = 2;
    @Input({ type: 'integer' }) three = 3.5;
    // @ts-expect-error the compiler refuses it too
    @Input({ type: 'string' }) static four = '';
    start() {}
  }
  const problem = problemOf(A);
  expect(problem).toContain('input "one" has a default and another value as its initialiser');
  expect(problem).toContain('input "two" is required and has a default');
  expect(problem).toContain('the default of input "three" is 3.5');
  expect(problem).toContain('@Input on "four": a static field');
});
