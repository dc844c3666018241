/**
 * `npm run pack [-- --out FOLDER]`: packs `@flowops/sdk` and `@flowops/cli` to files that npm installs, and prints where
 * they are. Nothing is published. The same sources give the same bytes.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { readVersion } from './node24.mjs';
import { cliPackage } from './pack/cli-package.ts';
import { keptSdk, PACKAGES_FOLDER } from './pack/kept-sdk.ts';
import { tarball } from './pack/tarball.ts';

const { values } = parseArgs({ options: { out: { type: 'string', default: PACKAGES_FOLDER } } });
const out = resolve(values.out);
const version = readVersion();
mkdirSync(out, { recursive: true });
const sdk = await keptSdk();
await copyFile(sdk, told(`flowops-sdk-${version}.tgz`));
writeFileSync(told(`flowops-cli-${version}.tgz`), tarball(await cliPackage(sdk)));

function told(name: string): string {
  const file = join(out, name);
  process.stdout.write(`${relative(process.cwd(), file)}\n`);
  return file;
}
