/** The documentation does what it says: each page is followed to the letter, in an empty folder. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ROOT } from '../support/clone.ts';
import { type PageOptions, runPage, type World } from '../support/docs-runner.ts';
import { linkCli } from '../support/linked-cli.ts';

/** Downloads over a slow line, and builds on a busy machine. */
const PAGE_MAX_MS = 600_000;
/** Followed from an ordinary user's account by a test of its own. */
const QUICK_START = 'docs/quick-start.md';

/** The pages with commands, files or types in them, and what each needs. */
const PAGES: Readonly<Record<string, PageOptions>> = {
  'README.md': { given: ['sdk/examples'] },
  'docs/plugins.md': {},
  'docs/publishing.md': { ports: [9091] },
  'docs/signing.md': { ports: [9091], after: seesThePublisher },
  'docs/network-and-secrets.md': {},
  'docs/library.md': { before: linkCli },
  'docs/what-works.md': {},
  'docs/sdk.md': {},
  'docs/testing.md': {},
};

/** Pages that nobody can follow on one machine, or that other tests hold. */
const OTHERS: Readonly<Record<string, string>> = {
  [QUICK_START]: 'test/e2e/quick-start.test.ts follows it from a clone and from packages',
  'docs/policy.md': 'its policies are loaded by test/unit/sandbox/policy/documents.test.ts',
  'docs/redis.md': 'test/integration/redis-login.test.ts logs in as it says',
  'docs/sandbox-doctor.md': 'it asks the whole machine; test/adversarial/hostile-cases.test.ts does its cases',
  'docs/sandbox-hosts.md': 'needs several machines and an authority of certificates',
};

const EXAMPLES = readdirSync(join(ROOT, 'sdk/examples')).filter((name) => /^\d\d-/.test(name));

async function follow(page: string, options: PageOptions, signal: AbortSignal): Promise<void> {
  const { commands, checked, left } = await runPage(page, options, signal);
  for (const one of left) console.info(`not run: ${one}`);
  expect(commands + checked + left.length, `${page} has nothing to do in it`).toBeGreaterThan(0);
}

describe.runIf(process.platform !== 'win32')('the pages', () => {
  it.for(Object.keys(PAGES))('%s does what it says', { timeout: PAGE_MAX_MS }, (page, { signal }) =>
    follow(page, PAGES[page] ?? {}, signal),
  );

  it.for(['', ...EXAMPLES])(
    'the README of the examples, %s, does what it says',
    { timeout: PAGE_MAX_MS },
    (name, { signal }) => follow(join('sdk/examples', name, 'README.md'), { given: ['sdk/examples'] }, signal),
  );

  it('are all followed, or it is said why not', () => {
    const pages = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));
    const withFences = pages.map((name) => `docs/${name}`).filter((page) => hasFence(page));
    expect(withFences.filter((page) => !(page in PAGES) && !(page in OTHERS))).toEqual([]);
    expect(Object.keys(OTHERS).filter((page) => !withFences.includes(page) && !hasFence(page))).toEqual([]);
  });
});

function seesThePublisher({ folder }: World): void {
  const { receipt } = z
    .object({ receipt: z.object({ publisher: z.string().nullable(), rule: z.string() }) })
    .parse(JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8')));
  expect(receipt).toEqual({ publisher: 'acme', rule: 'rule 1 (policy.yaml:5)' });
  expect(readFileSync(join(folder, 'registry', 'acme.greet', '1.0.0.js.sig'), 'utf8')).toBe(
    readFileSync(join(folder, 'greet.js.sig'), 'utf8'),
  );
}

function hasFence(page: string): boolean {
  return /^\s*```/m.test(readFileSync(join(ROOT, page), 'utf8'));
}
