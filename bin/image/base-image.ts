/**
 * The image that ours are built from, under its official name: there already, pulled, or, where no registry can be
 * reached, made of Debian's packages and the Node that npm ships, by root on Debian.
 *
 * A made one is meant for this machine: it carries the machine's own certificates, so that builds in it reach what the
 * machine reaches. Nothing of it but node and its libraries gets into the image of a step.
 */

import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NODE_RELEASE, ownNodePath, versionOf } from '../node24.mjs';
import { installNode } from '../setup.mjs';
import { type DockerCli, docker, runProgram } from './docker-cli.ts';

const DEBIAN = 'bookworm';
export const BASE_IMAGE = `node:${NODE_RELEASE}-${DEBIAN}-slim`;
/** The one that Node's own image of this release has, or a little later. */
const NPM_RELEASE = '11.21.2';
const PULL_TIMEOUT_MS = 300_000;
const MAKE_TIMEOUT_MS = 600_000;
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';
const SOURCES = [
  `deb http://deb.debian.org/debian ${DEBIAN} main`,
  `deb http://deb.debian.org/debian ${DEBIAN}-updates main`,
  `deb http://deb.debian.org/debian-security ${DEBIAN}-security main`,
];

export type BaseAnswer =
  | { readonly ok: true; readonly how: 'there' | 'pulled' | 'made' }
  | { readonly ok: false; readonly problem: string };

/** @param options.mayMake called when it cannot be pulled; true allows to make one here. */
export async function ensureBaseImage(
  cli: DockerCli,
  options: { readonly mayMake: () => Promise<boolean> },
): Promise<BaseAnswer> {
  if ((await docker(cli, ['image', 'inspect', BASE_IMAGE])).ok) return { ok: true, how: 'there' };
  cli.say(`pulling ${BASE_IMAGE} (about 80 MB, once)`);
  const pulled = await docker(cli, ['pull', '-q', BASE_IMAGE], { timeoutMs: PULL_TIMEOUT_MS, what: 'pulling' });
  if (pulled.ok) return { ok: true, how: 'pulled' };
  const problem = `${BASE_IMAGE} cannot be pulled: ${pulled.problem}`;
  if (!(await options.mayMake())) return { ok: false, problem };
  cli.say(`it cannot be pulled; making it of Debian's packages (1 to 2 minutes, once)`);
  return make(cli, problem);
}

async function make(cli: DockerCli, whyNotPulled: string): Promise<BaseAnswer> {
  const scratch = await mkdtemp(join(tmpdir(), 'flowops-base-'));
  try {
    const root = join(scratch, 'root');
    const failed =
      (await unpackDebian(cli, root)) ?? (await addNode(cli, root, scratch)) ?? (await importRoot(cli, root));
    if (failed === undefined) return { ok: true, how: 'made' };
    return { ok: false, problem: `${whyNotPulled}\nand it cannot be made here: ${failed}` };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Undefined = done; else what went wrong. */
async function unpackDebian(cli: DockerCli, root: string): Promise<string | undefined> {
  const made = await runProgram(cli, ['debootstrap', '--variant=minbase', DEBIAN, root], {
    timeoutMs: MAKE_TIMEOUT_MS,
    what: 'unpacking Debian',
  });
  if (!made.ok) return `debootstrap: ${made.problem}`;
  await writeFile(join(root, 'etc/apt/sources.list'), `${SOURCES.join('\n')}\n`);
  await rm(join(root, 'var/lib/apt/lists'), { recursive: true, force: true });
  await rm(join(root, 'var/cache/apt/archives'), { recursive: true, force: true });
  await mkdir(join(root, 'var/lib/apt/lists/partial'), { recursive: true });
  await mkdir(join(root, 'var/cache/apt/archives/partial'), { recursive: true });
  if (existsSync(CERTIFICATES)) {
    await mkdir(join(root, 'etc/ssl/certs'), { recursive: true });
    await cp(CERTIFICATES, join(root, CERTIFICATES), { dereference: true });
  }
  // As in Node's own image.
  const user = await runProgram(cli, [
    'chroot',
    root,
    'useradd',
    '--uid',
    '1000',
    '--user-group',
    '--create-home',
    'node',
  ]);
  return user.ok ? undefined : `useradd: ${user.problem}`;
}

async function addNode(cli: DockerCli, root: string, scratch: string): Promise<string | undefined> {
  const wanted = `v${NODE_RELEASE}`;
  const own = ownNodePath();
  const node =
    existsSync(own) && versionOf(own) === wanted
      ? own
      : await installNode({ say: cli.say, root: scratch }).catch((error: Error) => error);
  if (node instanceof Error) return node.message;
  await cp(node, join(root, 'usr/local/bin/node'), { dereference: true });
  const prefix = ['--global', '--prefix', join(root, 'usr/local')];
  const npm = await runProgram(cli, ['npm', 'install', ...prefix, `npm@${NPM_RELEASE}`, '--no-audit', '--no-fund'], {
    timeoutMs: MAKE_TIMEOUT_MS,
  });
  return npm.ok ? undefined : `npm install: ${npm.problem}`;
}

async function importRoot(cli: DockerCli, root: string): Promise<string | undefined> {
  const changes = ['--change', 'CMD ["node"]', '--change', 'LABEL flowops.base=made-here'];
  if (existsSync(join(root, CERTIFICATES))) changes.push('--change', `ENV NODE_EXTRA_CA_CERTS=${CERTIFICATES}`);
  const script = 'tar -C "$0" -c . | docker import "$@"';
  const imported = await runProgram(cli, ['sh', '-c', script, root, ...changes, '-', BASE_IMAGE], {
    timeoutMs: MAKE_TIMEOUT_MS,
    what: 'importing it into Docker',
  });
  if (!imported.ok) return `docker import: ${imported.problem}`;
  const run = await docker(cli, ['run', '--rm', '--network', 'none', BASE_IMAGE, 'node', '--version']);
  if (run.ok && run.stdout === `v${NODE_RELEASE}`) return undefined;
  await docker(cli, ['rmi', BASE_IMAGE]);
  return `node does not run in it: ${run.ok ? run.stdout : run.problem}`;
}
