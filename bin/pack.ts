/**
 * `npm run pack [-- --out FOLDER]`: packs `@flowops/sdk` and `@flowops/cli` to files that npm installs, and prints where
 * they are. Nothing is published. The same sources give the same bytes.
 */
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { EXIT } from '@flowops/proto/cli.ts';
import { messageOf } from '@flowops/proto/errors.ts';
import { readVersion } from './node24.mjs';
import { cliPackage } from './pack/cli-package.ts';
import { keptSdk, PACKAGES_FOLDER } from './pack/kept-sdk.ts';
import { tarball } from './pack/tarball.ts';

const out = readOut();
if (out !== undefined) await pack(out);

function readOut(): string | undefined {
  try {
    const { values } = parseArgs({ options: { out: { type: 'string', default: PACKAGES_FOLDER } } });
    return resolve(values.out);
  } catch (thrown) {
    process.exitCode = EXIT.usage;
    process.stderr.write(`${messageOf(thrown)}\nusage: npm run pack [-- --out FOLDER]\n`);
    return undefined;
  }
}

async function pack(folder: string): Promise<void> {
  const version = readVersion();
  const sdk = await keptSdk();
  const sdkFile = join(folder, `flowops-sdk-${version}.tgz`);
  const cliFile = join(folder, `flowops-cli-${version}.tgz`);
  await mkdir(folder, { recursive: true });
  await copyFile(sdk, sdkFile);
  await writeFile(cliFile, tarball(await cliPackage(sdk)));
  for (const file of [sdkFile, cliFile]) process.stdout.write(`${relative(process.cwd(), file)}\n`);
}
