/** The page for authors of plugins says what the sandbox gives. */
import { readFileSync } from 'node:fs';
import { GUEST_GLOBALS, REMOVED_GLOBALS } from '@flowops/proto/guest-globals.ts';
import { VALUE_TYPES } from '@flowops/sdk/metadata.ts';
import { describe, expect, it } from 'vitest';
import { ROOT } from './project-files.ts';

const manual = readFileSync(`${ROOT}/docs/plugins.md`, 'utf8');
const called = manual.slice(manual.indexOf('## What it can call'), manual.indexOf('## Limits'));

describe('the page for authors of plugins', () => {
  it('names all that a plugin can call', () => {
    expect(GUEST_GLOBALS.filter((name) => !called.includes(`\`${name}\``))).toEqual([]);
    expect(REMOVED_GLOBALS.filter((name) => !called.includes(`\`${name}\``))).toEqual([]);
  });

  it('names nothing else in its closed list', () => {
    const list = called.slice(0, called.indexOf('`WebAssembly`'));
    const named = [...list.matchAll(/`([^`]+)`/g)].map(([, name]) => name);
    const known = new Set<string | undefined>([
      ...GUEST_GLOBALS,
      ...['getRandomValues', 'randomUUID', 'subtle.digest', 'context.fetch', 'now'],
    ]);
    expect(named.filter((name) => !known.has(name))).toEqual([]);
  });

  it('names every type of input and output', () => {
    expect(VALUE_TYPES.filter((type) => !manual.includes(`\`${type}\``))).toEqual([]);
  });
});
