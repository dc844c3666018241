/**
 * `npm run image`: builds the image of step containers, which the container tier needs, with the Docker that DOCKER_HOST
 * (or Docker's own default) names. `npm run image -- step worker` builds that of worker containers too, which the isolate
 * tier needs where namespaces are refused, `-- all` also those of the services; `--make-base` allows to make the base
 * image here when it cannot be pulled. Exit 0 done, 2 wrong use, 3 Docker or the network.
 */
import { parseArgs } from 'node:util';
import { messageOf } from '@flowops/proto/errors.ts';
import { BASE_IMAGE, ensureBaseImage } from './image/base-image.ts';
import {
  type BuildAnswer,
  buildEngineImage,
  buildHostImage,
  buildStepImage,
  buildWorkerImage,
  readStepSources,
  readWorkerSources,
} from './image/build-images.ts';
import { type DockerCli, docker } from './image/docker-cli.ts';

const EXIT_USAGE = 2;
const EXIT_INFRASTRUCTURE = 3;
const USAGE = 'npm run image [-- step|worker|host|engine|all] [-- --make-base]';
/** The default of SANDBOX_IMAGE. */
const STEP_TAG = 'flowops/step-runner:latest';
/** The default of SANDBOX_WORKER_IMAGE. */
const WORKER_TAG = 'flowops/isolate-worker:latest';

interface Job {
  readonly name: string;
  readonly tag: string;
  build(cli: DockerCli): Promise<BuildAnswer>;
}

const JOBS: readonly Job[] = [
  { name: 'step', tag: STEP_TAG, build: async (cli) => buildStepImage(cli, await readStepSources(), STEP_TAG) },
  {
    name: 'worker',
    tag: WORKER_TAG,
    build: async (cli) => buildWorkerImage(cli, await readWorkerSources(), WORKER_TAG),
  },
  {
    name: 'host',
    tag: 'flowops/sandbox-host:latest',
    build: (cli) => buildHostImage(cli, 'flowops/sandbox-host:latest'),
  },
  { name: 'engine', tag: 'flowops/engine:latest', build: (cli) => buildEngineImage(cli, 'flowops/engine:latest') },
];

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const asked = readArguments(args);
  if (asked === undefined) {
    say(`usage: ${USAGE}`);
    return EXIT_USAGE;
  }
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  const cli: DockerCli = { host: undefined, say, signal: stop.signal };
  const daemon = await docker(cli, ['version', '--format', '{{.Server.Version}}']);
  if (!daemon.ok) return fail(`Docker cannot be used: ${daemon.problem}`);
  const base = await ensureBaseImage(cli, { mayMake: async () => asked.makeBase });
  if (!base.ok) {
    const hint = `\nOn Debian, root can make ${BASE_IMAGE} here: apt-get install debootstrap && npm run image -- --make-base`;
    return fail(`${base.problem}${asked.makeBase ? '' : hint}`);
  }
  for (const job of asked.jobs) {
    const startedMs = Date.now();
    say(`building ${job.tag} with Docker ${daemon.stdout}`);
    const built = await job.build(cli);
    if (!built.ok) return fail(built.problem);
    say(`${job.tag} is ready (${((Date.now() - startedMs) / 1000).toFixed(1)} s)`);
  }
  return 0;
}

function readArguments(
  args: readonly string[],
): { readonly jobs: readonly Job[]; readonly makeBase: boolean } | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { 'make-base': { type: 'boolean', default: false } },
      allowPositionals: true,
    });
    const names =
      positionals.length === 0 ? ['step'] : positionals.includes('all') ? JOBS.map(({ name }) => name) : positionals;
    if (names.some((name) => !JOBS.some((job) => job.name === name))) return undefined;
    return { jobs: JOBS.filter(({ name }) => names.includes(name)), makeBase: values['make-base'] };
  } catch (thrown) {
    say(messageOf(thrown));
    return undefined;
  }
}

function fail(problem: string): number {
  say(problem);
  return EXIT_INFRASTRUCTURE;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
