/** Every public name of the SDK is explained where an editor shows it and in the documentation, with an example that is right. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../support/clone.ts';
import type { PageStep } from '../support/docs-page.ts';
import { checkTypes } from '../support/docs-types.ts';

interface PublicName {
  readonly name: string;
  /** Of the entry point. */
  readonly from: string;
  readonly file: string;
}

const ENTRY_POINTS = {
  '@flowops/sdk': 'sdk/index.ts',
  '@flowops/sdk/testing': 'sdk/testing.ts',
  '@flowops/sdk/vitest': 'sdk/vitest.ts',
};
const EXPORT_FROM = /export (type )?\{([^}]*)\} from '(\.[^']+)'/g;
const EXPORT_HERE = /^export (?:async )?(?:function|const|interface|type|class|abstract class) (\w+)/gm;

function publicNames(): PublicName[] {
  return Object.entries(ENTRY_POINTS).flatMap(([from, entry]) => {
    const text = readFileSync(join(ROOT, entry), 'utf8');
    const passedOn = [...text.matchAll(EXPORT_FROM)].flatMap(([, , names = '', path = '']) =>
      names
        .split(',')
        .map((name) => name.replace(/^\s*type\s/, '').trim())
        .filter((name) => name !== '')
        .map((name) => ({ name, from, file: join(dirname(entry), path) })),
    );
    const own = [...text.matchAll(EXPORT_HERE)].map(([, name = '']) => ({ name, from, file: entry }));
    return [...passedOn, ...new Map(own.map((one) => [one.name, one])).values()];
  });
}

/** The comment before its declaration, the asterisks taken off. */
function docstringOf({ name, file }: PublicName): string {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const declared = new RegExp(
    `export (?:async )?(?:function|const|interface|type|class|abstract class) ${name}\\b`,
  ).exec(text);
  const before = text.slice(0, declared?.index ?? 0).trimEnd();
  if (!before.endsWith('*/')) return '';
  return before
    .slice(before.lastIndexOf('/**'))
    .replace(/\*\/$/, '')
    .replace(/^\s*\/?\*+ ?/gm, '');
}

function exampleOf(docstring: string): string {
  return docstring.split('@example')[1]?.trim() ?? '';
}

/** The names that an example takes for granted, unless it makes them itself. */
function moduleOf(example: string): string {
  const lines = Object.keys(ENTRY_POINTS).map((from) => {
    const names = NAMES.filter((one) => one.from === from && !declares(example, one.name)).map(({ name }) => name);
    return `import { ${names.map((name) => (isType(name) ? `type ${name}` : name)).join(', ')} } from '${from}';`;
  });
  const given = {
    Task: 'declare const Task: new () => BaseTask;',
    Greet: 'declare const Greet: new () => BaseTask;',
    result: 'declare const result: TaskResult;',
  };
  const declared = Object.entries(given).flatMap(([name, line]) => (declares(example, name) ? [] : [line]));
  return [
    ...lines,
    "import { expect } from 'vitest';",
    "import { defineConfig } from 'vitest/config';",
    ...declared,
    example,
    '',
  ].join('\n');
}

function declares(example: string, name: string): boolean {
  return new RegExp(`\\b(?:const|class) ${name}\\b`).test(example);
}

const NAMES = publicNames();
const VALUES = new Set(['BaseTask', 'Input', 'Output', 'TaskType', 'defineTask', 'TaskError', 'runTask', 'flowops']);
const isType = (name: string): boolean => !VALUES.has(name);

describe('the public names of the SDK', () => {
  it('are those that authors were told of', () => {
    expect(NAMES.map(({ name }) => name)).toEqual(expect.arrayContaining([...VALUES, 'TaskContext', 'TaskResult']));
    expect(NAMES.length).toBeGreaterThan(30);
  });

  it.each(NAMES)('$name of $from has a docstring with an example', (name) => {
    expect(exampleOf(docstringOf(name))).not.toBe('');
  });

  it('have examples that the compiler accepts', async ({ signal }) => {
    const steps = NAMES.map((name, index): PageStep => {
      const text = moduleOf(exampleOf(docstringOf(name)));
      return { kind: 'check', page: `${name.file} (${name.name})`, line: index + 1, text };
    });
    await checkTypes(steps, signal);
  });

  it.each(NAMES)('$name of $from is on its page', ({ name, from }) => {
    const page = readFileSync(join(ROOT, from === '@flowops/sdk' ? 'docs/sdk.md' : 'docs/testing.md'), 'utf8');
    expect(page).toMatch(new RegExp(`\\b${name}\\b`));
  });
});
