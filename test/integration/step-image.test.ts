/** What is in the image of step containers, and what it says of itself. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { readStepSources } from '../../bin/image/build-images.ts';
import { NODE_RELEASE } from '../../bin/node24.mjs';
import { runCommand } from '../services/child.ts';
import { type DockerService, startDocker } from '../services/docker.ts';
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
    const container = (await dockerText('create', '--label', 'flowops.test=image', service.image)).trim();
    try {
      const exported = await runCommand([
        ...['sh', '-c', 'docker --host "$0" export "$1" | tar -tv --numeric-owner -f -', service.host, container],
      ]);
      const files = exported
        .split('\n')
        .filter((line) => /^[-l]/.test(line))
        .map((line) => {
          const [mode = '', owner = '', , , , path = ''] = line.split(/\s+/);
          return { mode, owner, path };
        });
      // The daemon makes these for every container.
      const own = files.filter(
        ({ path }) => !/^(\.dockerenv|etc\/(hosts|hostname|resolv\.conf|mtab)|dev\/)/.test(path),
      );
      const libraries = own.filter(({ path }) => /^(usr\/)?lib(64)?\/.*\.so[.\d]*$/.test(path));
      const rest = own.filter((file) => !libraries.includes(file));
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
      expect(libraries.map(({ path }) => path.split('/').at(-1)).sort()).toContain('libc.so.6');
      expect(libraries.length).toBeLessThan(10);
      expect(own.filter(({ owner }) => owner !== '0/0')).toEqual([]);
    } finally {
      await dockerText('rm', '-f', container);
    }
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
