/** `flowops sandbox serve`: a sandbox host for several engines, until SIGTERM or Ctrl-C. */
import { type CliParts, EXIT } from '@flowops/proto/cli.ts';
import { describeSettings } from '@flowops/proto/settings-reader.ts';
import pino, { type Logger } from 'pino';
import { configOf } from '../config.ts';
import { serveHost } from '../serve/served-host.ts';

export async function sandboxServe(parts: CliParts): Promise<void> {
  // Node opens its debugger on this signal, unless somebody listens.
  process.on('SIGUSR1', () => {});
  const settings = await parts.settings();
  const log = pino({ level: settings.values.LOG_LEVEL, base: null }, pino.destination({ fd: 2, sync: true }));
  const shown = describeSettings(settings).filter(({ source }) => source !== 'default');
  log.info(
    { settings: Object.fromEntries(shown.map(({ name, value }) => [name, value])) },
    `flowops sandbox serve ${parts.version} starts`,
  );
  const signals = watchSignals(log);
  const config = configOf(settings.values, { dockerHost: process.env.DOCKER_HOST });
  const host = await serveHost({ values: settings.values, config, log });
  log.info({ addresses: host.addresses, instance: host.instance }, 'the sandbox host is ready');
  await signals.first;
  await host.end(signals.second);
  log.info('the sandbox host has ended');
}

/** The first asks it to end; after the second nothing is waited for. */
function watchSignals(log: Logger): { first: Promise<void>; second: AbortSignal } {
  const second = new AbortController();
  const first = new Promise<void>((resolve) => {
    let told = 0;
    const onSignal = (signal: NodeJS.Signals): void => {
      told++;
      if (told === 1) {
        log.info({ signal }, 'ending: running steps may finish (a second signal ends at once)');
        resolve();
        return;
      }
      process.exitCode = EXIT.interrupted;
      second.abort();
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
  return { first, second: second.signal };
}
