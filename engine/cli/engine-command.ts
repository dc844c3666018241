/** `flowops engine`: the service until SIGTERM or Ctrl-C; with `--embedded`, what `flowops run` left unfinished. */
import { join, resolve } from 'node:path';
import type { CliParts } from '@flowops/proto/cli.ts';
import { EXIT } from '@flowops/proto/cli.ts';
import { messageOf } from '@flowops/proto/errors.ts';
import { describeSettings, type Settings } from '@flowops/proto/settings-reader.ts';
import pino, { type Logger } from 'pino';
import { openService } from '../service.ts';

export interface EngineOptions {
  readonly embedded?: true;
}

export async function runEngine(options: EngineOptions, parts: CliParts): Promise<void> {
  const settings = await parts.settings();
  const log = pino({ level: settings.values.LOG_LEVEL, base: null }, pino.destination({ fd: 2, sync: false }));
  const shown = describeSettings(settings).filter(({ source }) => source !== 'default');
  log.info(
    { settings: Object.fromEntries(shown.map(({ name, value }) => [name, value])) },
    `flowops engine ${parts.version} starts`,
  );
  if (options.embedded === true) {
    const { takeUpInterruptedRuns } = await import('./embedded-engine.ts');
    return takeUpInterruptedRuns(settings, log, parts);
  }
  await runService(settings, log, parts);
}

async function runService(settings: Settings, log: Logger, parts: CliParts): Promise<void> {
  const ending = new AbortController();
  const signalled = onceSignalled(ending, log);
  const cacheDir = join(resolve(settings.values.FLOWOPS_HOME), 'cache');
  const service = await openService({
    settings,
    log,
    signal: ending.signal,
    openPluginFolder: (dir, sandboxes) =>
      parts.openPluginFolder(dir, { cacheDir, sandbox: async () => sandboxes.opened() }),
  });
  log.info({ store: service.engine.parts.store.durability.description }, 'the engine is ready');
  const end = await Promise.race([signalled.then(() => undefined), service.failed]);
  if (end !== undefined) {
    process.exitCode = EXIT.infrastructure;
    log.fatal(end.message);
  }
  try {
    await service.close();
    log.info('the engine has ended; unfinished runs are in the store');
  } catch (thrown) {
    process.exitCode = EXIT.infrastructure;
    log.fatal({ err: thrown }, `the engine did not end cleanly: ${messageOf(thrown)}`);
  }
  log.flush();
}

/** Resolves at the first SIGTERM or SIGINT; the second ends the process at once. */
function onceSignalled(ending: AbortController, log: Logger): Promise<void> {
  return new Promise((resolve) => {
    const onSignal = (signal: NodeJS.Signals) => {
      if (ending.signal.aborted) process.exit(EXIT.interrupted);
      log.info({ signal }, 'ending: running steps may finish (a second signal ends at once)');
      ending.abort();
      resolve();
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}
