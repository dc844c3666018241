/**
 * docs/quick-start.md, typed word for word: from a clone, and from the packed file. Where the tests run as root it is an
 * ordinary user of this machine who types: no root, no Docker, an empty home and an empty cache of packages.
 */
import { copyFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { scratchFolder } from '../services/scratch.ts';
import { bareEnvironment, cloneProject, ROOT, run } from '../support/clone.ts';
import { type PageOptions, runPage, type World } from '../support/docs-runner.ts';

const PAGE = 'docs/quick-start.md';
/** Two installs over a slow line. */
const PAGE_MAX_MS = 900_000;
/** Nobody's: no such user has to exist for its number to have no rights. */
const ORDINARY = { uid: 61_234, gid: 61_234 };
const user = process.getuid?.() === 0 ? { user: ORDINARY } : {};

const NO_DOCKER = { DOCKER_HOST: 'unix:///nowhere/docker.sock' };

const SHARED: PageOptions = { ports: [8787], hasCommand: false, env: NO_DOCKER, ...user };

it.runIf(process.platform !== 'win32')(
  'the quick start leads from a clone to a plugin in a flow',
  { timeout: PAGE_MAX_MS },
  async ({ signal }) => {
    const before = async ({ folder }: World): Promise<undefined> => {
      const clone = join(folder, 'flowops');
      cloneProject(clone);
      await giveAway(clone, signal);
    };
    await runPage(PAGE, { ...SHARED, before, after: hasWhatItPromised }, signal);
  },
);

it.runIf(process.platform !== 'win32')(
  'the quick start leads there from the packed file as well',
  { timeout: PAGE_MAX_MS },
  async ({ signal }) => {
    const before = async ({ folder }: World): Promise<PageOptions> => {
      const packed = await pack(signal);
      const file = join(folder, 'flowops-cli-0.1.0.tgz');
      copyFileSync(packed, file);
      await giveAway(file, signal);
      return {
        replace: {
          '(cd flowops && npm run setup)\n': '\n',
          'npm install ../flowops\n': 'npm install ../flowops-cli-0.1.0.tgz\n',
        },
      };
    };
    await runPage(PAGE, { ...SHARED, before, after: hasWhatItPromised }, signal);
  },
);

async function pack(signal: AbortSignal): Promise<string> {
  const out = scratchFolder();
  const env = bareEnvironment(join(process.execPath, '..'));
  const ended = await run(process.execPath, [join(ROOT, 'bin', 'pack.ts'), '--out', out], { cwd: ROOT, env, signal });
  expect(ended.code, ended.text).toBe(0);
  return join(out, 'flowops-cli-0.1.0.tgz');
}

async function giveAway(path: string, signal: AbortSignal): Promise<void> {
  if (user.user === undefined) return;
  const owner = `${ORDINARY.uid}:${ORDINARY.gid}`;
  const ended = await run('chown', ['-R', owner, path], { cwd: ROOT, env: process.env, signal });
  expect(ended.code, ended.text).toBe(0);
}

function hasWhatItPromised({ folder }: World): void {
  const made = readdirSync(join(folder, 'plugins', 'acme.rate', 'dist'));
  expect(made).toContain('acme.rate-1.0.0.js');
}
