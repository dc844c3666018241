/**
 * The sandbox of `plugin build` and `plugin inspect`: a host process that is started only when a manifest has to be read,
 * and ended with the command. Ctrl-C ends the build.
 */
import path from 'node:path';
import type { CliParts } from '@flowops/proto/cli.ts';
import type { Settings } from '@flowops/proto/settings-reader.ts';
import type { OpenedSandbox, OpenSandbox } from '../build/build-result.ts';

export interface CommandBuild {
  readonly sandbox: OpenSandbox;
  readonly cacheDir: string;
  readonly signal: AbortSignal;
}

export async function withBuildSandbox<T>(parts: CliParts, use: (build: CommandBuild) => Promise<T>): Promise<T> {
  const { values, sources, given } = await parts.settings();
  // A command's own words are enough for a person; who asks for the host's log gets it.
  const logLevel = sources.LOG_LEVEL.from === 'default' ? 'error' : values.LOG_LEVEL;
  const interrupt = new AbortController();
  const onInterrupt = (): void => interrupt.abort();
  process.once('SIGINT', onInterrupt);
  let opened: Promise<OpenedSandbox> | undefined;
  const sandbox = (): Promise<OpenedSandbox> => {
    opened ??= startSandbox(given, logLevel, interrupt.signal);
    return opened;
  };
  try {
    return await use({ sandbox, cacheDir: path.join(values.FLOWOPS_HOME, 'cache'), signal: interrupt.signal });
  } finally {
    process.off('SIGINT', onInterrupt);
    const started = await opened;
    if (started?.ok === true) await started.host.close();
  }
}

/** Evaluating a manifest needs no grant and no policy of the operator: the developer's own, on his own machine. */
async function startSandbox(given: Settings['given'], logLevel: string, signal: AbortSignal): Promise<OpenedSandbox> {
  const { startHostProcess } = await import('@flowops/proto/host-process.ts');
  return await startHostProcess({
    role: 'cli',
    instance: `plugin-build-${process.pid}`,
    env: { ...process.env, ...given, LOG_LEVEL: logLevel },
    policy: { kind: 'developer' },
    signal,
  });
}
