/** `flowops keys new --out FILE`: a key to sign plugins with, and the line that makes a policy trust it. */
import { FlowopsError } from '@flowops/proto/errors.ts';
import { pluginNameSchema } from '@flowops/proto/manifest.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import type { Command } from 'commander';
import { jsonLine } from './reports.ts';

const EXAMPLES = `
The file holds the private key (ed25519, PKCS#8 PEM, mode 0600) and is never written over. stdout is the line for
\`publishers:\` in a sandbox policy; it holds the public half only.

Examples:
  flowops keys new --out acme.pem --publisher acme
  flowops keys new --out acme.pem --json            {"file","key","keyId"}`;

interface NewKeyOptions {
  readonly out: string;
  readonly publisher: string;
  readonly json?: true;
}

export function registerKeysCommand(program: Command): void {
  program
    .command('keys')
    .description('keys that plugins are signed with')
    .command('new')
    .description('make a key')
    .requiredOption('--out <file>', 'where the private key goes')
    .option('--publisher <name>', 'the name in the printed line', 'acme')
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
    .action(async ({ out, publisher, json }: NewKeyOptions) => {
      if (!pluginNameSchema.safeParse(publisher).success) {
        throw new FlowopsError('USAGE_INVALID', '--publisher must be 1 to 128 characters of a-z 0-9 . _ -');
      }
      const { createKeyFile } = await import('../signing/key-file.ts');
      const { text: key, keyId } = await createKeyFile(out);
      if (json === true) {
        process.stdout.write(jsonLine({ file: out, key, keyId }));
        return;
      }
      process.stdout.write(`${policyLine(publisher, key, keyId)}\n`);
      process.stderr.write(
        `wrote ${showControls(out)}: keep it secret, it signs as ${publisher}\n` +
          'the line above goes under `publishers:` in the sandbox policy of whoever is to trust it\n',
      );
    });
}

function policyLine(publisher: string, key: string, keyId: string): string {
  return `  ${publisher}: { keys: [{ key: "${key}" }], names: ["${publisher}.*"] } # keyId ${keyId}`;
}
