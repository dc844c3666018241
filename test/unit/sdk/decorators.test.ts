/** Decorators used wrongly: each is told in words when the task is described, and none is an exception without a name. */
import { expect, test } from 'vitest';
import { BaseTask, defineTask, Input, Output, TaskType } from '../../../sdk/index.ts';
import { describeTask } from '../../../sdk/task-runtime.ts';

function problemOf(exported: unknown): string {
  const described = describeTask(exported);
  return described.ok ? '' : described.problem;
}

/** What JavaScript can do and the compiler refuses. */
const loose = { TaskType, Input, Output } as unknown as Record<
  'TaskType' | 'Input' | 'Output',
  // biome-ignore lint/suspicious/noExplicitAny: decorators as JavaScript sees them
  any
>;

test('a class decorator without parentheses leaves the class and says what to write', () => {
  @loose.TaskType
  class A extends BaseTask {
    start() {}
  }
  expect(problemOf(A)).toBe(
    `@TaskType on "A" has no parentheses; write @TaskType({ name: 'acme.greet', version: '1.0.0' })`,
  );
});

test('a field decorator without parentheses says what to write', () => {
  @TaskType({ name: 'a', version: '1.0.0' })
  class A extends BaseTask {
    @loose.Input one = '';
    @loose.Output two = '';
    start() {}
  }
  expect(problemOf(A)).toBe(
    `@Input on "one" has no parentheses; write @Input({ type: 'string' }); ` +
      `@Output on "two" has no parentheses; write @Output({ type: 'string' })`,
  );
});

test('decorators without what they need name it', () => {
  @loose.TaskType()
  class A extends BaseTask {
    @loose.Input() one = '';
    @loose.Output({}) two = '';
    start() {}
  }
  const problem = problemOf(A);
  expect(problem).toContain(`the task has no name; give it one: name: 'acme.greet'`);
  expect(problem).toContain(`the task has no version; give it one: version: '1.0.0'`);
  expect(problem).toContain('input "one" has no type; say one of them');
  expect(problem).toContain('output "two" has no type; say one of them');
});

test.each([
  ['number', 'has the type "number"; take integer or float'],
  ['bool', 'has the type "bool"; take boolean'],
  ['object', 'has the type "object"; take json'],
  ['date', 'has the type "date"; types are string, integer, float, boolean and json'],
  ['constructor', 'has the type "constructor"; types are'],
  [Number, 'has the type a function; types are'],
])('a type that does not exist is named with those that do: %s', (type, text) => {
  @TaskType({ name: 'a', version: '1.0.0' })
  class A extends BaseTask {
    @loose.Input({ type }) one = '';
    start() {}
  }
  expect(problemOf(A)).toContain(text);
  // biome-ignore lint/suspicious/noExplicitAny: as JavaScript
  const inputs = { one: { type } } as any;
  expect(problemOf(defineTask({ name: 'a', version: '1.0.0', inputs, run() {} }))).toContain(text);
});

test('decorators in the wrong place are named with the place', () => {
  @TaskType({ name: 'a', version: '1.0.0' })
  class A extends BaseTask {
    @loose.Input({ type: 'string' }) static one = '';
    @loose.Input({ type: 'string' }) #two = '';
    @loose.Output({ type: 'string' }) three() {}
    @loose.Input({ type: 'string' }) get four() {
      return this.#two;
    }
    @loose.Input({ type: 'string' }) [Symbol.iterator] = '';
    @loose.TaskType({ name: 'b', version: '2.0.0' }) five() {}
    start() {}
  }
  const problem = problemOf(A);
  expect(problem).toContain('@Input on "one": a static field');
  expect(problem).toContain('@Input on "#two": a #private field');
  expect(problem).toContain('@Output on "three": only a field');
  expect(problem).toContain('@Input on "four": only a field');
  expect(problem).toContain('@Input: a field named by a symbol');
  expect(problem).toContain('@TaskType on "five": it stands before the class');
});

test('a field that would take the place of a member of BaseTask is refused, with the way out', () => {
  @TaskType({ name: 'a', version: '1.0.0' })
  class A extends BaseTask {
    @loose.Input({ type: 'string' }) override context = undefined as never;
    start() {}
  }
  expect(problemOf(A)).toContain(`BaseTask has a member of that name; rename the field, and say name: 'context'`);
});

test('two fields of one name are named both', () => {
  @TaskType({ name: 'a', version: '1.0.0' })
  class A extends BaseTask {
    @Input({ type: 'string' }) one = '';
    @Input({ type: 'string', name: 'one' }) other = '';
    @Output({ type: 'string' }) two = '';
    @Output({ type: 'string', name: 'two' }) another = '';
    start() {}
  }
  expect(problemOf(A)).toContain('the fields "one" and "other" are both the input "one"');
  expect(problemOf(A)).toContain('the fields "two" and "another" are both the output "two"');
});

test('a class without @TaskType, or without start(), is told', () => {
  class A extends BaseTask {
    @Input({ type: 'string' }) one = '';
    start() {}
  }
  expect(problemOf(A)).toBe('the class has @Input or @Output but no @TaskType');
  @TaskType({ name: 'a', version: '1.0.0' })
  // @ts-expect-error the compiler asks for start() too
  class B extends BaseTask {}
  expect(problemOf(B)).toBe('the class has no start() method');
});

test('decorators of experimentalDecorators throw an error that says what to change', () => {
  const change = 'take that out of tsconfig.json, and give vitest the plugin flowops()';
  class A {}
  expect(() => loose.TaskType({ name: 'a', version: '1.0.0' })(A)).toThrow(change);
  expect(() => loose.TaskType(A)).toThrow(change);
  expect(() => loose.Input({ type: 'string' })(A.prototype, 'one')).toThrow(change);
  expect(() => loose.Input(A.prototype, 'one')).toThrow(change);
});

test('what defineTask is not given is named', () => {
  const looseDefine = defineTask as unknown as (definition?: unknown) => unknown;
  expect(problemOf(looseDefine())).toContain('has no run function');
  expect(problemOf(looseDefine({ run() {} }))).toContain('the task has no name');
  const shorthand = looseDefine({ name: 'a', version: '1.0.0', inputs: { one: 'string' }, run() {} });
  expect(problemOf(shorthand)).toContain('input "one" has no type');
});
