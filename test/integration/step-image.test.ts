/** What is in the images of step and worker containers, and what they say of themselves. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { readStepSources, readWorkerSources } from '../../bin/image/build-images.ts';
import { NODE_RELEASE } from '../../bin/node24.mjs';
import { runCommand } from '../services/child.ts';
import { type DockerService, startDocker, workerImage } from '../services/docker.ts';
import { script, TestContainer } from '../support/container.ts';

const imageSchema = z.tuple([
  z.looseObject({
    Id: z.string(),
    Config: z.looseObject({
      User: z.string(),
      Entrypoint: z.array(z.string()),
      Labels: z.record(z.string(), z.string()),
      Volumes: z.null().optional(),
    }),
  }),
]);

let service: DockerService;

beforeAll(async () => {
  service = await startDocker();
}, 300_000);
afterAll(() => service?.stop());

async function dockerText(...args: readonly string[]): Promise<string> {
  return runCommand(['docker', '--host', service.host, ...args]);
}

interface FileInImage {
  readonly mode: string;
  readonly owner: string;
  readonly path: string;
}

/** What is in it beside what the daemon makes for every container: shared libraries by name, and the rest. */
async function filesOf(image: string) {
  const container = (await dockerText('create', '--label', 'flowops.test=image', image)).trim();
  try {
    const exported = await runCommand([
      ...['sh', '-c', 'docker --host "$0" export "$1" | tar -tv --numeric-owner -f -', service.host, container],
    ]);
    const files = exported
      .split('\n')
      .filter((line) => /^[-l]/.test(line))
      .map((line): FileInImage => {
        const [mode = '', owner = '', , , , path = ''] = line.split(/\s+/);
        return { mode, owner, path };
      });
    const own = files.filter(({ path }) => !/^(\.dockerenv|etc\/(hosts|hostname|resolv\.conf|mtab)|dev\/)/.test(path));
    const isLibrary = ({ path }: FileInImage) => /^(usr\/)?lib(64)?\/.*\.so[.\d]*$/.test(path);
    const libraries = own.filter(isLibrary).map(({ path }) => path.split('/').at(-1));
    return { own, libraries, rest: own.filter((file) => !isLibrary(file)) };
  } finally {
    await dockerText('rm', '-f', container);
  }
}

describe('the image of worker containers', () => {
  it('holds node, its libraries, the init twice, the worker and isolated-vm, and nothing else', async () => {
    const image = await workerImage(service);
    const { rest, libraries, own } = await filesOf(image);
    const addon = `isolated-vm/prebuilds/linux-${process.arch}/isolated-vm.abi${process.versions.modules}.glibc.node`;
    expect(rest.map(({ mode, path }) => `${mode} ${path}`).sort()).toEqual(
      [
        '---x--x--x init',
        '-r-xr-xr-x init-readable',
        '-rwxr-xr-x usr/local/bin/node',
        '-rw-r--r-- worker/worker.mjs',
        ...[addon, 'isolated-vm/isolated-vm.js', 'isolated-vm/package.json'].map(inModules),
        ...['index.js', 'node-gyp-build.js', 'package.json'].map((file) => inModules(`node-gyp-build/${file}`)),
      ].sort(),
    );
    expect(libraries.length).toBeLessThan(10);
    expect(own.filter(({ owner }) => owner !== '0/0')).toEqual([]);
    const [{ Config }] = imageSchema.parse(JSON.parse(await dockerText('image', 'inspect', image)));
    const sources = await readWorkerSources();
    expect(Config.Labels).toMatchObject({
      'flowops.worker': sources.workerHash,
      'flowops.content': sources.contentKey,
    });
    expect([Config.User, Config.Entrypoint]).toEqual(['65532:65532', ['/init']]);
  });
});

function inModules(file: string): string {
  return `-rw-r--r-- worker/node_modules/${file}`;
}

describe('the image of step containers', () => {
  it('tells which runner and which version is in it, and starts as nobody', async () => {
    const [image] = imageSchema.parse(JSON.parse(await dockerText('image', 'inspect', service.image)));
    const sources = await readStepSources();
    expect(image.Config.Labels).toMatchObject({
      'flowops.runner': sources.runnerHash,
      'flowops.content': sources.contentKey,
      'flowops.version': sources.version,
    });
    expect(image.Config.User).toBe('65532:65532');
    expect(image.Config.Entrypoint).toEqual(['/init']);
  });

  it('holds node, its libraries, the init twice and the runner, and nothing else', async () => {
    const { rest, libraries, own } = await filesOf(service.image);
    expect(rest.map(({ mode, path }) => `${mode} ${path}`).sort()).toEqual([
      '---x--x--x init',
      '-r-xr-xr-x init-readable',
      '-rw-r--r-- runner/prelude.cache',
      '-rw-r--r-- runner/prelude.js',
      '-rw-r--r-- runner/program.cache',
      '-rw-r--r-- runner/program.js',
      '-rw-r--r-- runner/runner.cjs',
      '-rwxr-xr-x usr/local/bin/node',
    ]);
    expect(libraries).toContain('libc.so.6');
    expect(libraries.length).toBeLessThan(10);
    expect(own.filter(({ owner }) => owner !== '0/0')).toEqual([]);
  });

  it('holds code caches that its own Node takes', async () => {
    const tried = `import { readFileSync } from 'node:fs'; import { Script } from 'node:vm';
      const read = (name, encoding) => readFileSync('/runner/' + name, encoding);
      const isTaken = (name) => !new Script(read(name + '.js', 'latin1'), { cachedData: read(name + '.cache') }).cachedDataRejected;
      console.log(isTaken('program'), isTaken('prelude'));`;
    const container = new TestContainer({ service, runtime: 'runc', program: script(tried) });
    try {
      expect(await container.ended()).toBe(0);
      expect(container.stderr.trim()).toBe('true true');
    } finally {
      await container.remove();
    }
  });

  it('runs the Node that everything else runs', async () => {
    const container = new TestContainer({ service, runtime: 'runc', program: script('console.log(process.version)') });
    try {
      expect(await container.ended()).toBe(0);
      expect(container.stderr.trim()).toBe(`v${NODE_RELEASE}`);
    } finally {
      await container.remove();
    }
  });
});
