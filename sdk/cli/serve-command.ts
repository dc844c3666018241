/** `flowops registry serve`: the plugin service on a folder, until SIGTERM or Ctrl-C. */
import { EXIT } from '@flowops/proto/cli.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import type { Command } from 'commander';

const DEFAULT_PORT = 9091;
const MAX_PORT = 65_535;

const EXAMPLES = `
The folder holds <pluginId>/<version>.js and is made when it is missing. The port is plain gRPC without a password:
whoever reaches it can publish, so keep it on loopback or behind a network policy.

Examples:
  flowops registry serve --dir registry
  flowops registry serve --dir registry --port 0    a free port; the address is printed
  PLUGIN_SERVICE_ADDRESS=127.0.0.1:9091 flowops engine`;

interface ServeCommandOptions {
  readonly dir: string;
  readonly host: string;
  readonly port: string;
}

export function registerServeCommand(registry: Command): void {
  registry
    .command('serve')
    .description('serve a folder of plugins over gRPC')
    .requiredOption('--dir <dir>', 'the folder of published plugins')
    .option('--port <port>', 'where it listens; 0 for a free port', String(DEFAULT_PORT))
    .option('--host <host>', 'the interface it listens on', '127.0.0.1')
    .addHelpText('after', EXAMPLES)
    .action(async (options: ServeCommandOptions) => {
      const { dir, host } = options;
      const port = readPort(options.port);
      const { serveRegistry } = await import('../registry/registry-server.ts');
      const log = (message: string): void => void process.stderr.write(`${showControls(message)}\n`);
      const running = await serveRegistry({ dir, host, port, log });
      const ended = endSignal();
      process.stdout.write(`plugin service on ${running.address}, serving ${dir}\n`);
      const signal = await ended;
      await running.close();
      if (signal === 'SIGINT') process.exitCode = EXIT.interrupted;
    });
}

function readPort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port <= MAX_PORT) return port;
  throw new FlowopsError(
    'USAGE_INVALID',
    `--port must be a number from 0 to ${MAX_PORT}; ${showControls(text)} is not`,
  );
}

function endSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
}
