/**
 * `flowops plugin publish BUNDLE --registry HOST:PORT`: puts a built bundle, its signature and its map into a registry,
 * and says when it is not what flows get that name no version.
 */
import { readFile } from 'node:fs/promises';
import { parseSignature } from '@flowops/proto/bundle-signature.ts';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import type { Command } from 'commander';
import type { PublishOptions } from '../registry/publish-bundle.ts';
import { readBundle } from './bundle-file.ts';
import { registryError } from './registry-error.ts';
import { jsonLine } from './reports.ts';

const EXAMPLES = `
BUNDLE is what \`flowops plugin build\` wrote; its .map and .sig go with it when they lie beside it. A version is
published once: other bytes under the same version are refused. So is a version that looks like another plugin's: its
id has a latest with another name, or one signed with another key.

Examples:
  flowops plugin publish dist/greet-1.0.0.js --registry 127.0.0.1:9091
  flowops plugin publish dist/greet-1.0.0.js --registry 127.0.0.1:9091 --id 0f2f3c1e-9a64-4a35-8a62-51f7d2f4ab01`;

interface PublishCommandOptions {
  readonly registry: string;
  readonly id?: string;
  readonly takeOver?: true;
  readonly json?: true;
}

export function registerPublishCommand(plugin: Command): void {
  plugin
    .command('publish')
    .description('put a built bundle into a registry')
    .argument('<bundle>', 'a file written by `flowops plugin build`')
    .requiredOption('--registry <host:port>', 'address of the plugin service')
    .option('--id <plugin-id>', "the id that flows name it by (default: the manifest's name)")
    .option('--take-over', 'also when the id has a plugin of another name or signer')
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, options: PublishCommandOptions) => {
      const bundle = await readBundle(file);
      const { keyId, ...files } = await companions(file);
      const { publishBundle } = await import('../registry/publish-bundle.ts');
      const result = await publishBundle({
        registry: options.registry,
        bundle,
        ...(options.id === undefined ? {} : { pluginId: options.id }),
        ...(options.takeOver === true ? { takeOver: true } : {}),
        ...files,
      });
      if (!result.ok) throw registryError(result);
      const { pluginId, version, id, latest } = result;
      const digest = digestOf(bundle);
      const { latestNote } = await import('./latest-note.ts');
      const note = latestNote(result, options.registry);
      if (note !== undefined) process.stderr.write(`${showControls(note)}\n`);
      if (options.json === true) {
        process.stdout.write(jsonLine({ pluginId, version, id, digest, keyId, latest: latest ?? null }));
      } else process.stdout.write(`${showControls(`${pluginId} ${version}`)}\n${digest}\n${signedText(keyId)}`);
    });
}

interface FoundCompanions extends Pick<PublishOptions, 'signature' | 'sourceMap'> {
  readonly keyId: string | null;
}

async function companions(file: string): Promise<FoundCompanions> {
  const [signature, sourceMap] = await Promise.all([textOf(`${file}.sig`), textOf(`${file}.map`)]);
  const map = sourceMap === undefined ? {} : { sourceMap };
  if (signature === undefined) return { ...map, keyId: null };
  const parsed = parseSignature(signature);
  if (parsed.ok) return { ...map, signature, keyId: parsed.value.keyId };
  const advice = 'sign the bundle again with `flowops plugin sign`, or remove the file';
  throw new FlowopsError('PLUGIN_INVALID', showControls(`${file}.sig ${parsed.problem}; ${advice}`));
}

async function textOf(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return undefined;
    throw new FlowopsError('USAGE_INVALID', `${file} cannot be read: ${messageOf(thrown)}`, { cause: thrown });
  }
}

function signedText(keyId: string | null): string {
  return keyId === null ? '' : `keyId ${keyId}\n`;
}
