/** `flowops plugin sign BUNDLE --key FILE`: signs a built bundle, its name and its version; writes BUNDLE.sig beside it. */
import { formatSignature, MAX_KEY_FILE_BYTES, readPrivateKey, signBundle } from '@flowops/proto/bundle-signature.ts';
import type { CliParts } from '@flowops/proto/cli.ts';
import { writeAtomically } from '@flowops/proto/content-store.ts';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { readBundleManifest } from '@flowops/proto/manifest.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import type { Command } from 'commander';
import { readBundle } from './bundle-file.ts';
import { jsonLine } from './reports.ts';

const EXAMPLES = `
Signed are the digest of the bundle, its name and its version. The .sig file goes along with \`plugin publish\`; a version
that is published unsigned is signed later by publishing the same bytes again. Building other bytes removes it.

Examples:
  flowops plugin sign dist/greet-1.0.0.js --key acme.pem
  FLOWOPS_SIGNING_KEY_FILE=/run/secrets/key flowops plugin sign dist/greet-1.0.0.js --json`;

/** Everybody who may read the bundle may read who signed it. */
const SIGNATURE_MODE = 0o644;

export function registerSignCommand(plugin: Command, parts: Pick<CliParts, 'settings'>): void {
  plugin
    .command('sign')
    .description('sign a built bundle')
    .argument('<bundle>', 'a file written by `flowops plugin build`')
    .option('--key <file>', 'the private key (default: the setting FLOWOPS_SIGNING_KEY)')
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
    .action(async (bundle: string, options: { key?: string; json?: true }) => {
      const bytes = await readBundle(bundle);
      const manifest = readBundleManifest(bytes);
      if (!manifest.ok) throw new FlowopsError('PLUGIN_INVALID', showControls(`${bundle}: ${manifest.problem}`));
      const { name, version } = manifest.manifest;
      const digest = digestOf(bytes);
      const { privateKey } = await signingKey(options.key, parts);
      const signed = signBundle({ digest, name, version }, privateKey);
      const signature = `${bundle}.sig`;
      await write(signature, formatSignature(signed));
      const { keyId } = signed;
      if (options.json === true) process.stdout.write(jsonLine({ bundle, signature, digest, name, version, keyId }));
      else process.stdout.write(`${showControls(signature)}\n${name} ${version} ${digest} keyId ${keyId}\n`);
    });
}

/** The flag before the setting. */
async function signingKey(file: string | undefined, parts: Pick<CliParts, 'settings'>) {
  const { pem, from } = file === undefined ? await keyOfSettings(parts) : await keyOfFile(file);
  const read = readPrivateKey(pem);
  if (!read.ok) throw new FlowopsError('CONFIG_INVALID', `${from} ${read.problem}`);
  return read.value;
}

async function keyOfFile(file: string): Promise<{ pem: string; from: string }> {
  const { readKeyFile } = await import('../signing/key-file.ts');
  return { pem: await readKeyFile(file), from: file };
}

async function keyOfSettings(parts: Pick<CliParts, 'settings'>): Promise<{ pem: string; from: string }> {
  const { values } = await parts.settings();
  const pem = values.FLOWOPS_SIGNING_KEY;
  const from = 'FLOWOPS_SIGNING_KEY';
  if (pem === undefined) {
    throw new FlowopsError('USAGE_INVALID', `no key to sign with: give --key FILE, or set ${from}_FILE`);
  }
  if (pem.length > MAX_KEY_FILE_BYTES) throw new FlowopsError('CONFIG_INVALID', `${from} is no private key in PEM`);
  return { pem, from };
}

async function write(file: string, text: string): Promise<void> {
  try {
    await writeAtomically(file, text, SIGNATURE_MODE);
  } catch (thrown) {
    throw new FlowopsError('CONFIG_INVALID', `${file} cannot be written: ${messageOf(thrown)}`, { cause: thrown });
  }
}
