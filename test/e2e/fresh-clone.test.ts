/**
 * A fresh clone, with npm 11 and with npm 12, from a plain older Node where this machine has one. Packages come through
 * npm's own cache after the first time.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bareEnvironment, cloneProject, type Ended, findOlderNode, git, npmCli, run } from '../support/clone.ts';
import { skipBecause } from '../support/skip.ts';

const OWN_NODE = join('.node', 'node_modules', 'node', 'bin', 'node');
/** An install over a slow line. */
const SETUP_MAX_MS = 300_000;

let scratch: string;
let npm11: string;
let npm12: string;
beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'flowops-fresh-'));
  npm11 = await npmCli(11);
  npm12 = await npmCli(12);
}, SETUP_MAX_MS);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function freshClone(name: string): string {
  const folder = join(scratch, name);
  cloneProject(folder);
  return folder;
}

function expectExit(ended: Ended, code: number): void {
  expect(ended.code, ended.text).toBe(code);
}

describe('a fresh clone', () => {
  it(
    'runs the demo with npm 11 from an older Node, and names what is missing before that',
    async (context) => {
      const older = findOlderNode();
      if (older === undefined) skipBecause(context, 'no Node from 18 to 23 in PATH to begin with');
      const cwd = freshClone('npm-11');
      const env = bareEnvironment(dirname(older.path));

      const early = await run(older.path, ['bin/flowops.mjs', 'run', 'flow.yaml'], { cwd, env });
      expectExit(early, 2);
      expect(early.stderr).toContain('Node 24');
      expect(early.stderr).toContain('npm run setup');
      const earlyJson = await run(older.path, ['bin/flowops.mjs', 'run', 'flow.yaml', '--json'], { cwd, env });
      expect(JSON.parse(earlyJson.stdout)).toMatchObject({ error: { code: 'CONFIG_INVALID' } });

      const demo = await run(older.path, [npm11, 'run', 'demo'], { cwd, env });
      expectExit(demo, 0);
      // What it will do comes before the first thing it does.
      expect(demo.text.indexOf('This demo')).toBeLessThan(demo.text.indexOf('installing'));
      expect(demo.stdout).toMatch(/This demo\n {2}1\. installs Node 24 .* and \d+ npm packages .*half a minute/);
      expect(demo.stdout.match(/stopped after/g)).toHaveLength(3);
      expect(demo.stdout.trimEnd().split('\n').slice(-3)).toEqual([
        expect.stringContaining('npx flowops'),
        expect.stringContaining('npx flowops'),
        expect.stringContaining('npx flowops'),
      ]);
      // Only what it needs: no tools for tests and checks.
      expect(existsSync(join(cwd, 'node_modules', 'vitest'))).toBe(false);
      expect(git(cwd, ['status', '--porcelain', '--', 'package-lock.json', 'package.json'])).toBe(gitStatusOf());

      const again = await run(older.path, [npm11, 'run', 'setup'], { cwd, env });
      expectExit(again, 0);
      expect(again.stderr).not.toContain('installing');
      const version = await run(older.path, ['bin/flowops.mjs', '--version'], { cwd, env });
      expectExit(version, 0);
    },
    SETUP_MAX_MS,
  );

  it(
    'runs a flow and writes a new plugin with npm 12',
    async () => {
      const cwd = freshClone('npm-12');
      const env = bareEnvironment(dirname(process.execPath));
      const setUp = await run(process.execPath, [npm12, 'run', 'setup'], { cwd, env });
      expectExit(setUp, 0);
      const flow = ['run', 'sdk/examples/demo-flow.yaml', '--plugins', 'sdk/examples', '--json'];
      const ended = await run(process.execPath, [npm12, 'exec', '--', 'flowops', ...flow], { cwd, env });
      expectExit(ended, 0);
      const last = ended.stdout.trimEnd().split('\n').at(-1) ?? '';
      expect(JSON.parse(last)).toMatchObject({ eventType: 'RUN_RESULT', status: 'COMPLETED', error: null });

      // Packs the SDK, for which no tool of development is needed.
      const plugin = ['plugin', 'new', 'greet', '--no-install'];
      expectExit(await run(process.execPath, [npm12, 'exec', '--', 'flowops', ...plugin], { cwd, env }), 0);
      expect(readdirSync(join(cwd, 'greet', 'vendor'))).toEqual([expect.stringMatching(/^flowops-sdk-.*\.tgz$/)]);
    },
    SETUP_MAX_MS,
  );

  it(
    'gets a Node 24 that runs from npm 12 too, which refuses install scripts that are not allowed by name',
    async () => {
      const cwd = join(scratch, 'node-by-npm-12');
      const script =
        'const { installNode } = await import(process.argv[1]); await installNode({ root: process.argv[2], say: console.error });';
      const env = { ...bareEnvironment(dirname(process.execPath)), npm_execpath: npm12 };
      const setup = new URL('../../bin/setup.mjs', import.meta.url).href;
      const ended = await run(process.execPath, ['--input-type=module', '-e', script, setup, cwd], {
        cwd: scratch,
        env,
      });
      expectExit(ended, 0);
      const version = await run(join(cwd, OWN_NODE), ['--version'], { cwd, env });
      expect(version.stdout).toMatch(/^v24\./);
    },
    SETUP_MAX_MS,
  );

  it(
    'without network ends with one clear sentence',
    async () => {
      const cwd = freshClone('offline');
      const env = {
        ...bareEnvironment(dirname(process.execPath)),
        npm_config_registry: 'http://127.0.0.1:9/',
        npm_config_cache: join(scratch, 'empty-cache'),
      };
      const ended = await run(process.execPath, [npm11, 'run', 'setup'], { cwd, env });
      expectExit(ended, 3);
      expect(ended.stderr).toContain('npm could not reach the package registry');
    },
    SETUP_MAX_MS,
  );
});

/** The overlay of the working tree may itself have changed these; an install must not change them further. */
function gitStatusOf(): string {
  const root = new URL('../..', import.meta.url);
  return git(root.pathname, ['status', '--porcelain', '--', 'package-lock.json', 'package.json']);
}
