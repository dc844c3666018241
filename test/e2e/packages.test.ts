/**
 * The packages as somebody has them who has no clone: both are packed, installed by npm 11 and npm 12 into an empty folder,
 * and used there from a new plugin to its run in the sandbox. npm 12's reader has an ordinary user's account; neither has
 * Docker, until npm 11's is given one for the container tier. Nothing in them may know where they were made.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { startDocker } from '../services/docker.ts';
import { bareEnvironment, type Ended, findOlderNode, npmCli, ROOT, run } from '../support/clone.ts';
import { skipBecause } from '../support/skip.ts';

/** Installs over a slow line, with nothing in a new user's cache. */
const INSTALL_MAX_MS = 600_000;
/** Of nobody's account on a usual machine. */
const ORDINARY_UID = 54_321;
const NODE_FOLDER = dirname(process.execPath);

let scratch: string;
let packages: string;
beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'flowops-packages-'));
  chmodSync(scratch, 0o755);
  packages = join(scratch, 'packed');
  const packed = await run(process.execPath, [join(ROOT, 'bin', 'pack.ts'), '--out', packages], {
    cwd: scratch,
    env: bareEnvironment(NODE_FOLDER),
  });
  expectExit(packed, 0);
}, INSTALL_MAX_MS);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function expectExit(ended: Ended, code: number): void {
  expect(ended.code, ended.text).toBe(code);
}

function packedFile(name: 'sdk' | 'cli'): string {
  const [file] = globSync(`flowops-${name}-*.tgz`, { cwd: packages });
  if (file === undefined) throw new Error(`${name} was not packed`);
  return join(packages, file);
}

/** Where it is unpacked; the files of it by their paths. */
function unpacked(name: 'sdk' | 'cli'): { folder: string; files: readonly string[] } {
  const into = join(scratch, `unpacked-${name}`);
  mkdirSync(into, { recursive: true });
  execFileSync('tar', ['-xzf', packedFile(name), '-C', into]);
  const folder = join(into, 'package');
  const files = globSync('**/*', { cwd: folder, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
  return { folder, files };
}

const manifestSchema = z.looseObject({
  dependencies: z.record(z.string(), z.string()).default({}),
  exports: z.record(z.string(), z.object({ types: z.string(), default: z.string() })),
  private: z.boolean().default(false),
});

function manifestOf(folder: string): z.output<typeof manifestSchema> {
  return manifestSchema.parse(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')));
}

/** An account in a folder of its own: what it installs and runs, runs as this user. */
interface Account {
  readonly folder: string;
  flowops(...args: string[]): Promise<Ended>;
  /** With more in its environment. */
  flowopsWith(more: NodeJS.ProcessEnv, ...args: string[]): Promise<Ended>;
  npm(...args: string[]): Promise<Ended>;
  node(...args: string[]): Promise<Ended>;
}

function openAccount(name: string, { npm, uid }: { npm: string; uid?: number }): Account {
  const home = join(scratch, name);
  const folder = join(home, 'work');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
  const env: NodeJS.ProcessEnv = {
    ...bareEnvironment(NODE_FOLDER),
    HOME: home,
    DOCKER_HOST: `unix://${join(home, 'no-docker.sock')}`,
    HTTP_PORT: '0',
  };
  delete env.XDG_CACHE_HOME;
  delete env.FLOWOPS_HOME;
  if (uid !== undefined) {
    for (const path of [home, folder, join(folder, 'package.json')]) chownSync(path, uid, uid);
  }
  const asUser = uid === undefined ? [] : ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', '--'];
  const start = (args: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<Ended> => {
    const [program = '', ...rest] = uid === undefined ? args : ['setpriv', ...asUser, ...args];
    return run(program, rest, { cwd: folder, env: { ...env, ...more } });
  };
  const flowops = join(folder, 'node_modules', '.bin', 'flowops');
  return {
    folder,
    flowops: (...args) => start([flowops, ...args]),
    flowopsWith: (more, ...args) => start([flowops, ...args], more),
    npm: (...args) => start([process.execPath, npm, '--no-audit', '--no-fund', ...args]),
    node: (...args) => start([process.execPath, ...args]),
  };
}

const LIBRARY_PROGRAM = `import { createEngine } from '@flowops/cli/engine';
const engine = await createEngine({ home: './home', plugins: './', policy: 'developer' });
const step = { stepId: 'greet', pluginId: 'greet', inputs: { name: '\${flow.input.who}' } };
const flow = { flowId: 'hello', inputs: { who: { type: 'string' } }, steps: [step] } as const;
const flowRun = await engine.start(flow, { inputs: { who: 'Ada' } });
const types: string[] = [];
for await (const event of flowRun.events()) types.push(event.eventType);
const { status, outputs } = await flowRun.result();
console.log(JSON.stringify({ status, message: outputs['greet']?.['message'], events: types.length > 0 }));
await engine.close();
`;

/** From the installed command to a plugin that was tested and run. */
async function useEverything(account: Account, style: 'class' | 'function'): Promise<void> {
  expectExit(await account.npm('install', packedFile('cli')), 0);
  const version = await account.flowops('--version');
  expectExit(version, 0);

  expectExit(await account.flowops('plugin', 'new', 'greet', '--style', style), 0);
  expectExit(await account.npm('test', '--prefix', 'greet'), 0);

  const built = await account.flowops('plugin', 'build', 'greet', '--json');
  expectExit(built, 0);
  const ran = await account.flowops('sandbox', 'run', 'greet', '--input', 'name=Ada', '--json');
  expectExit(ran, 0);
  expect(JSON.parse(ran.stdout)).toMatchObject({ status: 'COMPLETED', outputs: { message: 'Hello, Ada!' } });

  // What an editor says of the author's files, and of a program that uses the library, with the types in the packages.
  writeFileSync(join(account.folder, 'program.ts'), LIBRARY_PROGRAM);
  const config = {
    compilerOptions: { target: 'es2024', module: 'nodenext', strict: true, noEmit: true, types: [] },
    files: ['program.ts'],
  };
  writeFileSync(join(account.folder, 'tsconfig.json'), JSON.stringify(config));
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  expectExit(await account.node(tsc, '--project', 'tsconfig.json'), 0);
  expectExit(await account.node(tsc, '--project', join('greet', 'tsconfig.json'), '--noEmit'), 0);

  const program = await account.node('program.ts');
  expectExit(program, 0);
  const told: unknown = JSON.parse(program.stdout);
  expect(told).toMatchObject({ status: 'COMPLETED', message: 'Hello, Ada!', events: true });
}

describe('a package', () => {
  it.each(['sdk', 'cli'] as const)('%s holds JavaScript with types, and no path of where it was made', (name) => {
    const { folder, files } = unpacked(name);
    expect(files.filter((file) => /(?<!\.d)\.ts$/.test(file))).toEqual([]);
    expect(files.filter((file) => /(^|\/)(node_modules|test|examples)\//.test(file))).toEqual([]);
    const telling = files.filter((file) => readFileSync(join(folder, file)).includes(ROOT.replace(/\/$/, '')));
    expect(telling).toEqual([]);
    const { exports, ...manifest } = manifestOf(folder);
    expect(manifest.private).toBe(false);
    for (const entry of Object.values(exports).flatMap((entry) => [entry.types, entry.default])) {
      expect(files).toContain(entry.replace(/^\.\//, ''));
    }
  });

  it('of the command holds every script of the store', () => {
    const scripts = globSync('engine/store/*.lua', { cwd: ROOT });
    expect(scripts.length).toBeGreaterThan(0);
    expect(unpacked('cli').files).toEqual(expect.arrayContaining(scripts));
  });

  it('of the SDK depends on nothing, that of the command on exact versions', () => {
    expect(manifestOf(unpacked('sdk').folder).dependencies).toEqual({});
    const versions = Object.values(manifestOf(unpacked('cli').folder).dependencies);
    expect(versions.length).toBeGreaterThan(0);
    expect(versions.filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  it('exports what is public and nothing else', () => {
    expect(Object.keys(manifestOf(unpacked('sdk').folder).exports)).toEqual(['.', './testing', './vitest']);
    expect(Object.keys(manifestOf(unpacked('cli').folder).exports)).toEqual(['./engine']);
  });

  it(
    'has the same bytes when it is packed again',
    async () => {
      const again = join(scratch, 'again');
      const packed = await run(process.execPath, [join(ROOT, 'bin', 'pack.ts'), '--out', again], {
        cwd: scratch,
        env: bareEnvironment(NODE_FOLDER),
      });
      expectExit(packed, 0);
      for (const file of globSync('*.tgz', { cwd: packages })) {
        expect(readFileSync(join(again, file)).equals(readFileSync(join(packages, file))), file).toBe(true);
      }
    },
    INSTALL_MAX_MS,
  );
});

describe('the installed packages', () => {
  it(
    'take an author from a new plugin to its run in the sandbox, with npm 11',
    async () => {
      const account = openAccount('npm-11', { npm: await npmCli(11) });
      await useEverything(account, 'class');

      // Cases that start programs of the package by their names.
      const cases = ['1', '39', '57'].flatMap((id) => ['--case', id]);
      const doctor = await account.flowops('sandbox', 'doctor', '--json', ...cases);
      expectExit(doctor, 0);
      expect(JSON.parse(doctor.stdout)).toMatchObject({ ok: true });

      // The image was made from the clone: it is taken only when the package has the same runner.
      const docker = await startDocker();
      try {
        const boxed = ['--tier', 'container', '--input', 'name=Ada', '--json'];
        const ran = await account.flowopsWith(docker.env, 'sandbox', 'run', 'greet', ...boxed);
        expectExit(ran, 0);
        expect(JSON.parse(ran.stdout)).toMatchObject({
          outputs: { message: 'Hello, Ada!' },
          receipt: { tier: 'container' },
        });
      } finally {
        await docker.stop();
      }
    },
    INSTALL_MAX_MS,
  );

  it(
    'do the same with npm 12, for an ordinary user in a new account',
    async () => {
      const isRoot = process.getuid?.() === 0;
      const account = openAccount('npm-12', { npm: await npmCli(12), ...(isRoot ? { uid: ORDINARY_UID } : {}) });
      await useEverything(account, 'function');
    },
    INSTALL_MAX_MS,
  );

  it(
    'say under an older Node how Node 24 comes there, and go on once it did',
    async (context) => {
      const older = findOlderNode();
      if (older === undefined) skipBecause(context, 'no Node from 18 to 23 in PATH to begin with');
      const folder = join(scratch, 'older');
      mkdirSync(folder);
      writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
      const npm = await npmCli(11);
      const env = { ...bareEnvironment(dirname(older.path)), HOME: folder };
      const start = (...args: string[]): Promise<Ended> => run(older.path, args, { cwd: folder, env });
      expectExit(await start(npm, 'install', '--no-audit', '--no-fund', packedFile('cli')), 0);

      const flowops = join(folder, 'node_modules', '.bin', 'flowops');
      const early = await start(flowops, '--version');
      expectExit(early, 2);
      expect(early.stderr).toContain('it needs Node 24');
      expect(early.stderr).not.toContain('npm run');
      const advised = /npm (install node-\S+) in /.exec(early.stderr)?.[1];
      if (advised === undefined) skipBecause(context, `npm has no Node for ${process.platform} ${process.arch}`);
      expectExit(await start(npm, ...advised.split(' '), '--no-audit', '--no-fund'), 0);
      expectExit(await start(flowops, '--version'), 0);
    },
    INSTALL_MAX_MS,
  );

  it(
    'of the SDK alone are imported by their public names only',
    async () => {
      const account = openAccount('sdk-alone', { npm: await npmCli(11) });
      expectExit(await account.npm('install', packedFile('sdk')), 0);
      const program = `
        import { defineTask } from '@flowops/sdk';
        import { runTask } from '@flowops/sdk/testing';
        const task = defineTask({ name: 'twice', version: '1.0.0', inputs: { n: { type: 'integer' } },
          outputs: { twice: { type: 'integer' } }, run: ({ inputs }) => ({ twice: inputs.n * 2 }) });
        const { status, outputs } = await runTask(task, { inputs: { n: 21 } });
        const inner = await import('@flowops/sdk/sdk/metadata.js').catch(({ code }) => code);
        console.log(JSON.stringify({ status, outputs, inner }));`;
      const ended = await account.node('--input-type=module', '-e', program);
      expectExit(ended, 0);
      expect(JSON.parse(ended.stdout)).toEqual({
        status: 'COMPLETED',
        outputs: { twice: 42 },
        inner: 'ERR_PACKAGE_PATH_NOT_EXPORTED',
      });
    },
    INSTALL_MAX_MS,
  );
});
