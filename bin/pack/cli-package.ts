/**
 * `@flowops/cli` as it is packed: the command with engine, sandbox and SDK inside, each of our modules as a JavaScript
 * file at the same place as in the clone. What the clone builds when a sandbox first starts (the isolate worker, the
 * runner of step containers) is in it ready built, so that its hash is that of the images that the clone makes.
 */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildRunner } from '@flowops/sandbox/container/runner-assets.ts';
import { buildWorker } from '@flowops/sandbox/isolate/assets.ts';
import { ROOT } from '../node24.mjs';
import { PACKED_SDK } from '../packed-sdk.ts';
import { declarations } from './declarations.ts';
import { commonFields, versionsOf } from './manifest.ts';
import { exportsOf } from './sdk-package.ts';
import type { PackageFile, PackageFiles } from './tarball.ts';
import { transpile } from './transpile.ts';

const EXPORTED = { './engine': 'bin/library.ts' };
const PROGRAM = 'bin/flowops.mjs';
/** Modules that are started or bundled by their file's name, so that no import leads to them. */
const BY_NAME = [
  'bin/flowops-child.mjs',
  'sandbox/main.ts',
  'sandbox/serve/health-check.ts',
  'sandbox/doctor/escaped-host.ts',
  'sandbox/doctor/escaped-worker.ts',
  'sdk/index.ts',
];
/** Read at run time from where they lie, or by a person. */
const AS_THEY_ARE = ['engine/store/*.lua', 'proto/*.proto', 'docs/**/*.md', 'docs/schemas/*.json', 'LICENSE'];
/** Loaded by name. */
const ISOLATED_VM = 'isolated-vm';

export async function cliPackage(sdkFile: string): Promise<PackageFiles> {
  const entries = [PROGRAM, ...Object.values(EXPORTED), ...BY_NAME];
  const [code, types, worker, runner] = await Promise.all([
    transpile({ entries, leaveOut: ['bin/pack/'] }),
    declarations(Object.values(EXPORTED)),
    buildWorker(),
    buildRunner(),
  ]);
  const manifest = {
    name: '@flowops/cli',
    description: "FlowOps: runs flows of other people's plugins, each step in a sandbox",
    ...commonFields(),
    bin: { flowops: PROGRAM },
    exports: exportsOf(EXPORTED),
    dependencies: versionsOf(new Set([...code.packages, ...types.packages])),
    // It has no build for some machines: there the container tier is what is left.
    optionalDependencies: versionsOf([ISOLATED_VM]),
  };
  const made: [string, PackageFile][] = [
    ...[...code.files, ...types.files].map(([path, content]): [string, PackageFile] => [
      path,
      { content, isProgram: path === PROGRAM },
    ]),
    ['sandbox/built/worker.mjs', { content: worker.text }],
    ...Object.entries(runner.files).map(([name, content]): [string, PackageFile] => [
      `sandbox/built/${name}`,
      { content },
    ]),
    [PACKED_SDK, { content: readFileSync(sdkFile) }],
    ['package.json', { content: `${JSON.stringify(manifest, null, 2)}\n` }],
    ['README.md', { content: readFileSync(join(import.meta.dirname, 'cli-readme.md')) }],
    ...globSync(AS_THEY_ARE, { cwd: ROOT }).map((path): [string, PackageFile] => [
      path.replaceAll('\\', '/'),
      { content: readFileSync(join(ROOT, path)) },
    ]),
  ];
  return new Map(made);
}
