/**
 * The process of a sandbox host that another process started: speaks on descriptor 3 and lives as long as that
 * connection. When the other side closes it or dies, every worker is ended and the process exits.
 *
 * A start that fails ends with one log line that carries code and message: host-process.ts reads it.
 */
import { Socket } from 'node:net';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import { pino } from 'pino';
import { openApp } from './app.ts';
import { readConfig } from './config.ts';
import { openSecrets } from './host-calls/open-secrets.ts';
import { workerFiles } from './isolate/worker-files.ts';

const PARENT_FD = 3;
const EXIT_CONFIG = 2;
const EXIT_INFRASTRUCTURE = 3;

const output = pino.destination({ fd: 2, sync: true });
// Whoever read the log is gone; the connection on descriptor 3 ends too and with it this process.
output.on('error', () => {});
const log = pino({ name: 'sandbox', level: 'info' }, output);

try {
  const config = await readConfig(process.env, process.argv.slice(2));
  log.level = config.logLevel;
  const secrets = await openSecrets(config, process.stdin);
  const app = await openApp({ config, log, workerFiles, secrets });
  const stream = new Socket({ fd: PARENT_FD, readable: true, writable: true });
  // The first close counts; the connection then ends by itself.
  const stop = (): void => {
    void app.close();
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  const end = await app.serve(stream);
  log.debug({ end }, 'the connection ended; stopping');
  await app.close();
  process.exitCode = end.kind === 'ended' || end.kind === 'closed' ? 0 : EXIT_INFRASTRUCTURE;
} catch (thrown) {
  const code = thrown instanceof FlowopsError ? thrown.code : 'SANDBOX_UNAVAILABLE';
  log.level = 'fatal';
  log.fatal({ code }, messageOf(thrown));
  process.exit(code === 'CONFIG_INVALID' ? EXIT_CONFIG : EXIT_INFRASTRUCTURE);
}
